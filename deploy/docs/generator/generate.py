"""Writes the parts of the documentation that repeat what the program says: errors, fields, commands.

``python deploy/docs/generator/generate.py`` writes them; ``--check`` changes nothing and fails when a
page differs from what would be written, or when a page is left over.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from attack_reference import attack_page
from command_reference import command_page
from error_pages import error_pages
from field_reference import field_page

from wardround.client.data.manifest import Manifest
from wardround.common.study import Study
from wardround.server.consortium import CoordinatorSettings
from wardround.simulations.cli import app
from wardround.simulations.scenario import ScenarioTables

DOCS = Path(__file__).resolve().parents[1]

STUDY_INTRODUCTION = """\
A study is one TOML file. Every field is listed here; a field that is not listed is refused, never ignored. Fields
without a default must be given. The study's id is the SHA-256 of its canonical JSON (RFC 8785), so any change makes
another study."""

SCENARIO_INTRODUCTION = """\
A scenario is a [study](study.md) with one more table, `[simulation]`: the virtual hospitals of one machine. Drop-outs
to be simulated are listed in `[[faults]]`. Neither is part of the study's id."""

MANIFEST_INTRODUCTION = """\
A site manifest is a small TOML file beside a hospital's data. It stays there. [data.md](data.md) shows how to write
one; every field is listed here, and a field that is not listed is refused."""


COORDINATOR_INTRODUCTION = """\
`coordinator.toml` lies in the coordinator's folder; `wardround coordinator init` writes it. A change holds
from the next start on. Every field is listed here; a field that is not listed is refused, never ignored."""


def pages() -> dict[Path, str]:
    """Every generated page by its path below ``deploy/docs``."""
    return {
        **error_pages(),
        Path("study.md"): field_page("Study file", STUDY_INTRODUCTION, Study, ()),
        Path("scenario.md"): field_page("Scenario file", SCENARIO_INTRODUCTION, ScenarioTables, ()),
        Path("manifest.md"): field_page("Site manifest", MANIFEST_INTRODUCTION, Manifest, ()),
        Path("coordinator.md"): field_page("Coordinator's settings", COORDINATOR_INTRODUCTION, CoordinatorSettings, ()),
        Path("cli.md"): command_page(app),
        Path("attacks.md"): attack_page(),
    }


def left_over(wanted: dict[Path, str], docs: Path) -> list[Path]:
    """Error pages on disk whose code is no longer registered."""
    found = (path.relative_to(docs) for path in docs.glob("errors/*.md"))
    return sorted(path for path in found if path not in wanted)


def differing(wanted: dict[Path, str], docs: Path) -> list[Path]:
    """Pages that are missing or say something else than the program."""
    return [path for path, text in sorted(wanted.items()) if _read(docs / path) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def write(docs: Path) -> None:
    """Bring every generated page up to date and remove those left over."""
    wanted = pages()
    for path in left_over(wanted, docs):
        (docs / path).unlink()
    for path in differing(wanted, docs):
        (docs / path).parent.mkdir(parents=True, exist_ok=True)
        (docs / path).write_text(wanted[path], encoding="utf-8")
        print(f"wrote deploy/docs/{path}")


def check(docs: Path) -> bool:
    """Whether every page is what would be written; names those that are not."""
    wanted = pages()
    stale = differing(wanted, docs) + left_over(wanted, docs)
    for path in stale:
        print(f"deploy/docs/{path} is out of date: run make docs", file=sys.stderr)
    return not stale


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Write the generated pages of deploy/docs.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a page is out of date")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of the pages")
    arguments = parser.parse_args()
    if arguments.check:
        return 0 if check(arguments.docs) else 1
    write(arguments.docs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
