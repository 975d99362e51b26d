"""A transcript holds all that fresh hospitals need to answer again, and a replay notices any difference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from wardround.simulations.attacks.carry_out import run_script
from wardround.simulations.attacks.secagg import CASES
from wardround.simulations.attacks.transcript import LONG, replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Line = dict[str, Any]


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    """A control in which shares, packets, signatures and a refusal-free opening of two attempts occur."""
    case, file = CASES["second-opening"], tmp_path / "transcript.jsonl"
    assert run_script(case, case.weakened(5, case.rules(5)), file, 5).gain
    return file


def _lines(file: Path) -> list[Line]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _change(file: Path, change: Callable[[list[Line]], None]) -> None:
    lines = _lines(file)
    change(lines)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _flipped(digits: str) -> str:
    return f"{int(digits[:2], 16) ^ 1:02x}{digits[2:]}"


def test_a_replay_gives_the_same_answers(transcript: Path) -> None:
    found = replay(transcript)
    assert found.same
    assert found.messages == sum("to" in line for line in _lines(transcript)) > 40


def test_every_step_is_there_and_says_where_it_ended(transcript: Path) -> None:
    lines = _lines(transcript)
    assert {line["step"] for line in lines if "to" in line} == {
        "advertise", "join", "begin", "upload", "confirm", "open",
    }  # fmt: skip
    assert lines[0]["case"] == "second-opening"
    assert lines[0]["off"] == ["opened_once"]
    assert lines[-1]["outcome"]["gain"] == "the victim's update, exactly"


def test_a_refusal_is_part_of_it(tmp_path: Path) -> None:
    case, file = CASES["overlapping-lists"], tmp_path / "refused.jsonl"
    run_script(case, case.lab(5), file, 5)
    assert _lines(file)[-2]["answer"]["refused"] == "WR-1708"
    assert replay(file).same
    _change(file, lambda lines: lines[-2]["answer"].update(refused="WR-1709"))
    assert not replay(file).same


def test_another_seed_gives_other_answers(transcript: Path) -> None:
    def change(lines: list[Line]) -> None:
        spec = next(line["spec"] for line in lines if "hospital" in line)
        spec["seed"] = _flipped(spec["seed"])

    _change(transcript, change)
    assert not replay(transcript).same


def test_another_message_gives_another_answer(transcript: Path) -> None:
    def change(lines: list[Line]) -> None:
        confirm = next(line for line in lines if line.get("step") == "confirm")
        confirm["message"][0] = _flipped(confirm["message"][0])

    _change(transcript, change)
    assert not replay(transcript).same


def test_with_all_rules_in_place_the_control_is_not_answered_alike(transcript: Path) -> None:
    def change(lines: list[Line]) -> None:
        for line in lines:
            if "hospital" in line and line["spec"]["off"] == ["opened_once"]:
                line["spec"]["off"] = []

    _change(transcript, change)
    assert not replay(transcript).same


def test_packets_and_long_messages_are_written_once(transcript: Path) -> None:
    lines = _lines(transcript)
    confirm = next(line for line in lines if line.get("step") == "confirm")
    pieces = [part for part in confirm["message"] if isinstance(part, dict)]
    assert len(pieces) == 4
    assert all(part.keys() == {"answer", "at", "bytes"} for part in pieces)
    literals = [part for line in lines if "to" in line for part in line["message"] if isinstance(part, str)]
    long = [part for part in literals if len(part) > 2 * LONG]
    assert len(long) == len(set(long))


def test_a_restart_is_replayed(tmp_path: Path) -> None:
    case, file = CASES["same-model-after-a-restart"], tmp_path / "restart.jsonl"
    run_script(case, case.lab(3), file, 3)
    assert sum(line.get("step") == "restart" for line in _lines(file)) == 3
    assert replay(file).same


def test_something_else_is_not_taken_for_a_transcript(tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"rounds": 3}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="not a transcript"):
        replay(other)
    other.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="not a transcript"):
        replay(other)
