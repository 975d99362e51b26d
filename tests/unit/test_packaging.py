"""What is installed is what is in the tree: packages, data files, pins, licence."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions, packages_distributions
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = ("common", "server", "client", "simulations")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """``pyproject.toml``."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from a copy of the tree."""
    source = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(root / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def _tree(root: Path) -> set[str]:
    """Every file below the packages, as it would be named in a wheel."""
    files = (path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file())
    return {f"wardround/{path.relative_to(root).as_posix()}" for path in files if "__pycache__" not in path.parts}


def test_package_list_equals_the_tree(root: Path, project: dict[str, Any]) -> None:
    found = {
        "wardround." + ".".join(path.parent.relative_to(root).parts)
        for folder in FOLDERS
        for path in (root / folder).rglob("__init__.py")
    }
    listed = project["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == found


def test_every_folder_with_modules_is_a_package(root: Path) -> None:
    folders = {path.parent for folder in FOLDERS for path in (root / folder).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_wheel_holds_every_file_of_the_packages_and_nothing_else(root: Path, wheel: set[str]) -> None:
    inside = {name for name in wheel if ".dist-info/" not in name}
    assert inside == _tree(root)


def test_wheel_carries_the_licence(wheel: set[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


def test_wheel_has_no_top_level_init(wheel: set[str]) -> None:
    assert "wardround/__init__.py" not in wheel


def test_links_for_type_checkers_point_at_the_folders(root: Path) -> None:
    links = {path.name: path.resolve() for path in (root / ".links" / "wardround").iterdir()}
    assert links == {folder: root / folder for folder in FOLDERS}


def _requirements(project: dict[str, Any]) -> list[str]:
    extras = project["project"]["optional-dependencies"].values()
    return [*project["project"]["dependencies"], *(requirement for extra in extras for requirement in extra)]


def _imported(root: Path) -> set[str]:
    """Top-level names of the modules that the packages import, their own and the standard library's left out."""
    modules = (path.read_text(encoding="utf-8") for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    nodes = [node for source in modules for node in ast.walk(ast.parse(source))]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    members = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in plain | members} - sys.stdlib_module_names - {"wardround"}


def test_every_import_is_a_declared_dependency(root: Path, project: dict[str, Any]) -> None:
    """Peers of benchmarks come from an extra, and are imported where they are measured alone."""
    declared = {_normal(Requirement(text).name) for text in project["project"]["dependencies"]}
    measured = {_normal(Requirement(text).name) for text in project["project"]["optional-dependencies"]["dp"]}
    providers = packages_distributions()
    undeclared = {
        name for name in _imported(root) if not {_normal(provider) for provider in providers.get(name, [])} & declared
    }
    assert undeclared == measured
    users = {
        path.parent.name
        for path in root.glob("[cs]*/**/*.py")
        if "import opacus" in (text := path.read_text()) or "from opacus" in text
    }
    assert users == {"bench"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {_normal(name): version for name, version in pairs}


def test_pins_are_exact_and_name_no_place(root: Path) -> None:
    lines = [line for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines() if line]
    pin = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.!-]*")
    assert [line for line in lines if not line.startswith("#") and not pin.fullmatch(line)] == []


def test_every_requirement_is_pinned_within_its_range(root: Path, project: dict[str, Any]) -> None:
    pins = _pins(root)
    wrong = [
        text
        for text in _requirements(project)
        for requirement in (Requirement(text),)
        if not requirement.specifier.contains(pins.get(_normal(requirement.name), "0"))
    ]
    assert wrong == []


def test_what_is_installed_is_what_is_pinned(root: Path) -> None:
    pins = _pins(root)
    tools = {"pip", "wheel", "wardround"}
    installed = {_normal(item.name): item.version.partition("+")[0] for item in distributions()}
    different = {
        name: (version, pins.get(name))
        for name, version in installed.items()
        if name not in tools and pins.get(name) != version
    }
    assert different == {}
