"""One page for every error code, and their index, from the registry of the program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from wardround.common.errors import REGISTRY

if TYPE_CHECKING:
    from wardround.common.errors import ErrorPage

FAMILIES: Final = {
    "WR-10": "The study file",
    "WR-11": "Manifests, tables, images",
    "WR-12": "Models and local training",
    "WR-13": "Messages, rounds, aggregation",
    "WR-14": "Metrics and statistics",
    "WR-15": "Run folders, saved models, reports",
    "WR-16": "Processors and accelerators",
    "WR-17": "Secure aggregation, identities, roster",
    "WR-18": "Differential privacy and the privacy ledger",
}
"""What a code is about, by its first two digits."""


def error_pages() -> dict[Path, str]:
    """The page of every registered code and ``errors/README.md``, by path below ``deploy/docs``."""
    pages = {Path("errors") / f"{page.code}.md": _page(page) for page in REGISTRY.values()}
    return {Path("errors/README.md"): _index(), **pages}


def _page(page: ErrorPage) -> str:
    return f"# {page.code}: {page.title}\n\n**Why.** {page.cause}\n\n**What to do.** {page.remedy}\n"


def _index() -> str:
    lines = [
        "# Errors",
        "",
        "Every refusal has a code, says what happened and what to do, and never contains patient data. Generated from",
        "`wardround.common.errors`.",
    ]
    for prefix, family in FAMILIES.items():
        codes = sorted(code for code in REGISTRY if code.startswith(prefix))
        if codes:
            lines += ["", f"## {prefix}xx: {family}", ""]
            lines += [f"* [{code}]({code}.md) {REGISTRY[code].title}" for code in codes]
    return "\n".join(lines) + "\n"
