"""Each package imports what Flower does not document in one place, so a release of Flower is looked at in few files."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTED: Final = {"flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy", "flwr.simulation"}
PLACES: Final = {
    "common": (),
    "server": ("server/flower/",),
    "client": ("client/link.py",),
    "simulations": ("simulations/grid.py", "simulations/bench/secagg_flower.py"),  # the second one measures Flower
}


def undocumented(source: str) -> set[str]:
    """Modules of Flower that a module imports beside the documented ones."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.startswith("flwr.")} - DOCUMENTED


@pytest.mark.parametrize("package", PLACES)
def test_undocumented_modules_are_imported_in_one_place(root: Path, package: str) -> None:
    found = {
        str(path.relative_to(root)): names
        for path in sorted((root / package).rglob("*.py"))
        if (names := undocumented(path.read_text(encoding="utf-8")))
    }
    inside = {name for name in found if name.startswith(PLACES[package])} if PLACES[package] else set()
    assert {name: names for name, names in found.items() if name not in inside} == {}
    assert bool(inside) == bool(PLACES[package])  # the control: there they are found


def test_what_is_documented_passes() -> None:
    assert undocumented("from flwr.app import Message\nfrom flwr.serverapp import Grid") == set()
    assert undocumented("def f():\n    from flwr.proto import fleet_pb2") == {"flwr.proto"}
