"""``status.json`` and the lock: what others on the machine see of an agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from wardround.client.agent.status import STATUS, StatusFile, is_running, only_one, read_status
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_change_is_written_and_says_since_when(tmp_path: Path) -> None:
    file = StatusFile(tmp_path)
    file.change(state="refused", code="WR-1905", words="no")
    first = read_status(tmp_path)
    assert first is not None
    assert (first.state, first.code, first.process) == ("refused", "WR-1905", os.getpid())
    file.change(roster=3)
    second = read_status(tmp_path)
    assert second is not None
    assert (second.roster, second.since) == (3, first.since)
    assert (tmp_path / STATUS).stat().st_mode & 0o777 == 0o600


def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    file = StatusFile(tmp_path)
    file.change(state="idle")
    (tmp_path / STATUS).unlink()
    file.change(state="idle", heard=1.0)
    assert not (tmp_path / STATUS).exists()
    file.change(state="working")
    assert (tmp_path / STATUS).exists()


def test_the_processor_of_the_last_agent_is_remembered(tmp_path: Path) -> None:
    StatusFile(tmp_path).change(state="idle", device="cuda")
    assert StatusFile(tmp_path).now.device == "cuda"


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"unknown": 1})])
def test_a_damaged_file_is_as_good_as_none(content: str, tmp_path: Path) -> None:
    (tmp_path / STATUS).write_text(content)
    assert read_status(tmp_path) is None


def test_a_status_that_cannot_be_written_does_not_end_the_agent(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "gone")
    file.change(state="idle")
    assert file.now.state == "idle"


def test_the_lock_of_a_process_that_was_killed_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom wardround.client.agent.status import only_one\n"
        "with only_one(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_running(tmp_path)
        with pytest.raises(WardroundError) as refusal, only_one(tmp_path):
            pass
        assert refusal.value.code == "WR-1916"
        holder.kill()
    assert not is_running(tmp_path)
