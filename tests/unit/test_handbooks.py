"""Handbooks lead where they say they lead, in both languages, with commands that exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml
from fakes.command_lines import commands_of, parse
from typer.testing import CliRunner

from wardround.simulations.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANDBOOKS = ("handbook-hospital.md", "handbook-hospital.zh.md", "handbook-coordinator.md")

PATH = (
    ("hospital", "join"),
    ("hospital", "roster", "accept"),
    ("hospital", "data", "add"),
    ("hospital", "policy"),
    ("hospital", "ledger", "limit"),
    ("hospital", "doctor"),
    ("hospital", "studies"),
    ("hospital", "approve"),
)
"""What a hospital does, in this order."""


def test_commands_that_handbooks_give_to_containers_are_the_program_s(root: Path) -> None:
    found = [words for page in HANDBOOKS for words in commands_of(root / "deploy" / "docs" / page, "docker")]
    given = [list(_given_to_program(words, root)) for words in found if {"run", "exec"} & set(words)]
    assert len(given) >= 6
    for words in given:
        parse(words)


def _given_to_program(words: list[str], root: Path) -> Iterator[str]:
    """What follows the name of a service in ``docker compose run`` or ``exec``."""
    file = root / words[words.index("--file") + 1]
    services = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
    verb = next(place for place, word in enumerate(words) if word in {"run", "exec"})
    service = next(place for place, word in enumerate(words) if place > verb and word in services)
    after = words[service + 1 :]
    yield from after[1:] if words[verb] == "exec" else after


@pytest.mark.parametrize("page", HANDBOOKS[:2])
def test_the_hospital_s_handbook_leads_from_the_invite_to_the_approval(root: Path, page: str) -> None:
    commands = [tuple(words) for words in commands_of(root / "deploy" / "docs" / page, "wardround")]
    places = [next(place for place, words in enumerate(commands) if words[: len(step)] == step) for step in PATH]
    assert places == sorted(places)
    minutes = re.findall(
        r"^## \d+\..*[((](\d+) (?:minutes?|分钟)", (root / "deploy/docs" / page).read_text("utf-8"), re.MULTILINE
    )
    assert len(minutes) == 9
    assert sum(int(number) for number in minutes) <= 15


def test_both_languages_give_the_same_commands(root: Path) -> None:
    english, chinese = ((root / "deploy" / "docs" / page).read_text(encoding="utf-8") for page in HANDBOOKS[:2])
    blocks = [re.findall(r"^```\w+\n.*?^```", text, re.DOTALL | re.MULTILINE) for text in (english, chinese)]
    assert blocks[0] == blocks[1]
    codes = [sorted(set(re.findall(r"WR-\d{4}", text))) for text in (english, chinese)]
    assert codes[0] == codes[1]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["hospital", "unit"], "wardround-hospital.service"),
        (["hospital", "unit", "--gpu"], "wardround-hospital-gpu.conf"),
        (["coordinator", "unit"], "wardround-coordinator.service"),
    ],
)
def test_the_installed_program_prints_the_units_that_are_checked(root: Path, words: list[str], name: str) -> None:
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0
    assert printed.stdout == (root / "deploy" / "systemd" / name).read_text(encoding="utf-8")
    if "--gpu" not in words:
        (service,) = re.findall(rf"/opt/\S+ {' '.join(words)} > /etc/systemd/system/(\S+)", _handbook(root, words[0]))
        assert service == name


def _handbook(root: Path, who: str) -> str:
    return (root / "deploy" / "docs" / f"handbook-{who}.md").read_text(encoding="utf-8")


def test_no_page_has_an_invite_code_where_other_accounts_can_read_it(root: Path) -> None:
    pages = [*(root / "deploy/docs").glob("handbook-*.md"), *(root / "deploy/docs/errors").glob("*.md")]
    joins = [
        line for page in pages for line in page.read_text(encoding="utf-8").splitlines() if "hospital join " in line
    ]
    assert any("hospital join - " in line for line in joins)
    assert [line for line in joins if "join CODE" in line] == []
