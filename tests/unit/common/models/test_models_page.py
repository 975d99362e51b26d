"""The page about models names every model, parameter and default as the program has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wardround.common.models.catalogue import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path


def test_every_parameter_is_on_the_page_with_its_default(root: Path) -> None:
    page = (root / "deploy" / "docs" / "models.md").read_text(encoding="utf-8")
    written = {tuple(cell.strip(" `") for cell in line.split("|")[1:4]) for line in page.splitlines() if "|" in line}
    wanted = {
        (name, parameter, json.dumps(field.default))
        for name, entry in BUILT_IN.items()
        for parameter, field in entry.parameters.model_fields.items()
    }
    assert {row for row in written if row[0] in BUILT_IN and row[1] in _parameters()} == wanted


def _parameters() -> set[str]:
    return {parameter for entry in BUILT_IN.values() for parameter in entry.parameters.model_fields}
