"""``common`` opens no file, socket or process and reads no clock; no package draws from a global random state."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = ("common", "server", "client", "simulations")
IO_MODULES = {
    "asyncio", "ftplib", "glob", "http", "io", "mmap", "multiprocessing", "os", "pathlib", "secrets", "select",
    "shutil", "signal", "smtplib", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
IO_CALLS = {"open", "input", "print", "breakpoint"}
IO_METHODS = {
    "read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "unlink", "mkdir", "savez", "fromfile", "tofile",
}  # fmt: skip
CLOCK_METHODS = {"now", "utcnow", "today", "perf_counter", "monotonic"}
SEEDED = {
    "default_rng",
    "Generator",
    "SeedSequence",
    "BitGenerator",
    "PCG64",
    "PCG64DXSM",
    "Philox",
    "SFC64",
    "MT19937",
}


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every absolute import, those for type checking alone left out."""
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


def _running(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    for child in ast.iter_child_nodes(node):
        yield from _running(child)


def impurities(source: str) -> list[str]:
    """What a module does beyond computing: imports, calls and methods that touch the world outside."""
    tree = ast.parse(source)
    found = [f"line {line}: import of {name}" for line, name in imported(tree) if name in IO_MODULES]
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = call.func
        if isinstance(function, ast.Name) and function.id in IO_CALLS:
            found.append(f"line {call.lineno}: {function.id}()")
        if isinstance(function, ast.Attribute) and function.attr in IO_METHODS | CLOCK_METHODS:
            found.append(f"line {call.lineno}: .{function.attr}()")
    return found


def global_randomness(source: str) -> list[str]:
    """Draws from, or seeding of, a random state that the whole process shares."""
    tree = ast.parse(source)
    found = [f"line {line}: import of random" for line, name in imported(tree) if name == "random"]
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"), attr=name):
                if name not in SEEDED:
                    found.append(f"line {node.lineno}: numpy.random.{name}")
            case ast.Call(func=ast.Attribute(attr="default_rng") | ast.Name(id="default_rng"), args=[], keywords=[]):
                found.append(f"line {node.lineno}: default_rng without a seed")
    return found


def _modules(root: Path, package: str) -> list[Path]:
    return sorted((root / package).rglob("*.py"))


def test_common_is_pure(root: Path) -> None:
    modules = _modules(root, "common")
    assert modules
    found = {str(path.relative_to(root)): impurities(path.read_text(encoding="utf-8")) for path in modules}
    assert {path: reasons for path, reasons in found.items() if reasons} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_global_random_state(root: Path, package: str) -> None:
    modules = _modules(root, package)
    assert modules
    found = {str(path.relative_to(root)): global_randomness(path.read_text(encoding="utf-8")) for path in modules}
    assert {path: reasons for path, reasons in found.items() if reasons} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from pathlib import Path",
        "def f(name):\n    import socket",
        "open('x')",
        "x.read_text()",
        "datetime.now()",
    ],
)
def test_impurity_is_found(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    ["import numpy", "if TYPE_CHECKING:\n    from pathlib import Path", "import datetime", "x.append(1)", "opened(1)"],
)
def test_pure_code_passes(source: str) -> None:
    assert impurities(source) == []


@pytest.mark.parametrize(
    "source",
    ["import random", "np.random.seed(0)", "numpy.random.rand(3)", "np.random.default_rng()", "default_rng()"],
)
def test_global_randomness_is_found(source: str) -> None:
    assert global_randomness(source)


@pytest.mark.parametrize(
    "source", ["np.random.default_rng(seed)", "np.random.Generator(np.random.Philox(1))", "rng.normal()"]
)
def test_seeded_randomness_passes(source: str) -> None:
    assert global_randomness(source) == []
