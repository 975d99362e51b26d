"""``wardround attack`` as a process: what it prints, its exit codes, and transcripts that another process replays."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

REPLAY = """
import sys
from pathlib import Path
from wardround.simulations.attacks.transcript import replay
found = [replay(Path(name)) for name in sys.argv[1:]]
print(all(each.same for each in found), sum(each.messages for each in found))
"""


def _attack(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from wardround.simulations.cli import main; main()", "attack", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_json_as_the_design_has_it_and_a_replay_elsewhere(tmp_path: Path) -> None:
    done = _attack(tmp_path, "secagg", "--json", "--sites", "3", "--sites", "5", "--out", "there")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["attack"] == "secagg"
    assert len(found["cases"]) > 90
    for case in found["cases"]:
        assert {"case", "n", "refused", "reason", "control_succeeds", "transcript", "checks", "words"} <= case.keys()
        assert case["refused"] is case["control_succeeds"] is case["replays"] is True
        assert case["reason"] is None or case["reason"].startswith("WR-17")
    gains = [case["gain"] for case in found["cases"] if case["n"] == 5]
    assert gains.count("the victim's update, exactly") >= 30
    files = [case[name] for case in found["cases"][:10] for name in ("transcript", "control_transcript")]
    again = subprocess.run(
        [sys.executable, "-c", REPLAY, *files], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    same, messages = again.stdout.split()
    assert same == "True"
    assert int(messages) > 100


def test_a_table_for_people(tmp_path: Path) -> None:
    done = _attack(tmp_path, "secagg", "--case", "overlapping-lists", "--case", "delayed-upload", "--sites", "5")
    assert done.returncode == 0, done.stderr
    assert "overlapping-lists" in done.stdout
    assert "2 of 2 hold. Transcripts: runs/attack-1" in done.stdout
    assert len(list((tmp_path / "runs" / "attack-1").glob("*.jsonl"))) == 4


def test_what_there_is_not(tmp_path: Path) -> None:
    for arguments in (("nothing",), ("secagg", "--case", "nothing"), ("secagg", "--sites", "4")):
        done = _attack(tmp_path, *arguments, "--json")
        assert done.returncode == 1
        assert json.loads(done.stdout)["error"]["code"] == "WR-1522"
    assert _attack(tmp_path, "secagg", "--sites", "2").returncode == 2
    assert not (tmp_path / "runs").exists()
