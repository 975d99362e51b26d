"""Rules are switched off one by one, and nowhere but in the attacks."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING

import pytest

from wardround.common.secagg.site import Site
from wardround.common.secagg.site_checks import SiteChecks
from wardround.simulations.attacks.weakened import CHECKS, FULL_ORDER, LIMITS, RULES, SENDER, site_class, without

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _own(checks: SiteChecks) -> set[str]:
    return {name for name in vars(type(checks)) if not name.startswith("__")}


@pytest.mark.parametrize("rule", CHECKS)
def test_one_rule_is_one_method(rule: str) -> None:
    assert _own(without([rule])) == {rule}
    assert isinstance(without([rule]), SiteChecks)


def test_nothing_is_switched_off_by_default() -> None:
    assert _own(without([])) == set()
    assert site_class([]) is Site


def test_rules_that_stand_elsewhere_are_no_methods() -> None:
    assert _own(without(set(RULES) - set(CHECKS))) == set()
    for rule in (LIMITS, FULL_ORDER, SENDER):
        found = site_class([rule])
        assert issubclass(found, Site)
        assert found is not Site


def test_every_check_of_a_site_is_known_here() -> None:
    called = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(Site)))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "_checks"
    }
    assert called == set(CHECKS)


def test_an_unknown_rule_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no rules"):
        without(["no_such_rule"])


# Production


def _modules(root: Path) -> Iterator[tuple[Path, ast.AST]]:
    for package in ("common", "server", "client", "simulations"):
        for path in sorted((root / package).rglob("*.py")):
            if "attacks" not in path.relative_to(root).parts:
                yield path.relative_to(root), ast.parse(path.read_text(encoding="utf-8"))


def _gives_checks(tree: ast.AST) -> bool:
    """Whether anything is called with ``checks=``, or with keyword arguments that cannot be read, as a Site is."""
    return any(
        isinstance(node, ast.Call)
        and (
            any(keyword.arg == "checks" for keyword in node.keywords)
            or (_name(node.func) == "Site" and any(keyword.arg is None for keyword in node.keywords))
        )
        for node in ast.walk(tree)
    )


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _names(tree: ast.AST) -> set[str]:
    """Modules and names that are imported."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_no_production_module_gives_a_site_other_checks(root: Path) -> None:
    makers = [path for path, tree in _modules(root) if _makes_sites(tree)]
    assert makers  # the hospital's code is among them
    assert [path for path, tree in _modules(root) if _gives_checks(tree)] == []
    assert _gives_checks(ast.parse("Site('a', checks=None)"))
    assert _gives_checks(ast.parse("Site('a', **settings)"))


def _makes_sites(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Call) and _name(node.func) == "Site" for node in ast.walk(tree))


def test_no_production_module_knows_the_attacks(root: Path) -> None:
    """What attacks found, a file with numbers, may be read by the report."""
    package, told = "wardround.simulations.attacks", "wardround.simulations.attacks.leakage.results"
    known = {path.as_posix(): {n for n in _names(tree) if n.startswith(package)} for path, tree in _modules(root)}
    knowing = {path for path, names in known.items() if any(not name.startswith(told) for name in names)}
    assert knowing == {"simulations/cli.py"}  # the command, which imports them when it runs


def test_checks_are_subclassed_nowhere_in_production(root: Path) -> None:
    for path, tree in _modules(root):
        bases = {_name(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
        assert not bases & {"SiteChecks", "Site"}, path
