"""What the documentation says about commands, files, fields and codes is true of the program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from fakes.command_lines import commands_of, parse

from wardround.common.errors import REGISTRY
from wardround.common.study import Study
from wardround.simulations.scenario import scenario_names

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = ("common", "server", "client", "simulations")


def _pages(root: Path) -> list[Path]:
    """Every Markdown page that people wrote or the generator made."""
    return sorted([*root.glob("*.md"), *(root / "deploy" / "docs").rglob("*.md")])


def _commands(root: Path, program: str) -> list[list[str]]:
    return [words for page in _pages(root) for words in commands_of(page, program)]


def test_every_command_in_the_docs_is_one_the_program_takes(root: Path) -> None:
    commands = _commands(root, "wardround")
    assert len(commands) >= 5
    for words in commands:
        parse(words)


@pytest.mark.parametrize("line", ["simulate phantom-cxr --seeds 2", "report runs/first", "demo --json"])
def test_true_commands_parse(line: str) -> None:
    parse(line.split())


@pytest.mark.parametrize(
    "line",
    ["simulat phantom-cxr", "simulate phantom-cxr --seed 2", "simulate a b", "report", "simulate x --seeds many"],
)
def test_false_commands_do_not(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line.split())


def test_every_make_target_in_the_docs_exists(root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {word for words in _commands(root, "make") for word in words if "=" not in word}
    assert {"demo", "test"} <= named <= targets


def test_links_lead_somewhere(root: Path) -> None:
    dead = [
        f"{page.relative_to(root)}: {target}"
        for page in _pages(root)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert dead == []


def test_readme_lists_the_scenarios_that_exist(root: Path) -> None:
    for page in ("README.md", "README.zh.md"):
        rows = re.findall(r"^\| `([a-z0-9-]+)` \|", (root / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert sorted(rows) == list(scenario_names())


def test_every_page_is_in_the_index(root: Path) -> None:
    docs = root / "deploy" / "docs"
    index = (docs / "README.md").read_text(encoding="utf-8")
    pages = [*docs.glob("*.md"), *docs.glob("adr/*.md")]
    assert [page.name for page in pages if page.name != "README.md" and page.name not in index] == []


def _generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    generator = root / "deploy" / "docs" / "generator" / "generate.py"
    return subprocess.run([sys.executable, str(generator), *arguments], capture_output=True, text=True, check=False)


def test_generated_pages_are_up_to_date(root: Path) -> None:
    done = _generate(root, "--check")
    assert done.returncode == 0, done.stderr


def test_check_finds_changed_missing_and_left_over_pages(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "deploy" / "docs", tmp_path, dirs_exist_ok=True)
    (tmp_path / "study.md").write_text("changed", encoding="utf-8")
    (tmp_path / "cli.md").unlink()
    (tmp_path / "errors" / "WR-0000.md").write_text("left over", encoding="utf-8")
    found = _generate(root, "--check", "--docs", str(tmp_path))
    assert found.returncode == 1
    for name in ("study.md", "cli.md", "errors/WR-0000.md"):
        assert f"deploy/docs/{name} is out of date" in found.stderr

    assert _generate(root, "--docs", str(tmp_path)).returncode == 0
    assert _generate(root, "--check", "--docs", str(tmp_path)).returncode == 0
    assert not (tmp_path / "errors" / "WR-0000.md").exists()


def test_every_field_of_a_study_is_explained(root: Path) -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| ([^|]*) \|$", (root / "deploy/docs/study.md").read_text("utf-8"), re.MULTILINE
    )
    assert {name for name, _ in rows} >= {field.alias or name for name, field in Study.model_fields.items()}
    assert [name for name, meaning in rows if not meaning.strip()] == []


def _codes_in_use(root: Path) -> set[str]:
    modules = (path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    used = (path for path in modules if "errors" not in path.relative_to(root).parts)
    return {code for path in used for code in re.findall(r'"(WR-\d{4})\b', path.read_text(encoding="utf-8"))}


def test_codes_in_use_are_those_with_a_page(root: Path) -> None:
    assert _codes_in_use(root) == set(REGISTRY)


@pytest.mark.parametrize("page", REGISTRY.values(), ids=REGISTRY)
def test_error_page_is_complete(page: Any) -> None:
    assert re.fullmatch(r"WR-1[0-9]\d\d", page.code)
    assert page.title
    assert not page.title.endswith(".")
    for text in (page.cause, page.remedy):
        assert text.endswith(".")
        assert len(text) > 20
