"""Processes of a federation on one machine end with the one that started them, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from wardround.common.errors import WardroundError
from wardround.simulations.deployed.processes import Processes, free_port
from wardround.simulations.deployed.usage import cpu_seconds, family, resident_mb, watch

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = sys.executable
FOREVER = (PYTHON, "-c", "import time; print('up', flush=True); time.sleep(600)")
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PATIENCE = 60.0

STARTS_ONE = """
import os, sys, time
from pathlib import Path
from wardround.simulations.deployed.processes import Processes
with Processes(Path(sys.argv[1])) as processes:
    wait = "import time; print(1, flush=True); time.sleep(600)"
    child = processes.start("child", (sys.executable, "-c", wait), os.environ)
    processes.wait_until(lambda: child.last_words() == "1" or None, "the child", 60)
    print(child.pid, flush=True)
    time.sleep(600)
"""


def _lives(pid: int) -> bool:
    return bool(family(pid))


def _wait_until_gone(pid: int) -> bool:
    end = time.monotonic() + PATIENCE
    while _lives(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not _lives(pid)


def test_leaving_ends_all_and_those_below_them(tmp_path: Path) -> None:
    grandchild = f"import subprocess; subprocess.run({FOREVER!r})"
    with Processes(tmp_path / "log") as processes:
        first = processes.start("first", FOREVER, os.environ)
        second = processes.start("second", (PYTHON, "-c", grandchild), os.environ)
        processes.wait_until(lambda: True if len(family(second.pid)) == 2 else None, "the grandchild", PATIENCE)
        started = (first.pid, *family(second.pid))
        assert all(_lives(pid) for pid in started)
    assert not any(_lives(pid) for pid in started)


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        stubborn = processes.start("stubborn", (PYTHON, "-c", STUBBORN), os.environ)
        processes.wait_until(lambda: True if stubborn.last_words() == "up" else None, "it", PATIENCE)
        assert stubborn.stop(patience=0.1) == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_a_parent_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen([PYTHON, "-c", STARTS_ONE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _lives(child)
    parent.send_signal(number)
    parent.wait()
    parent.stdout.close()
    assert _wait_until_gone(child)


def test_waiting_ends_when_a_process_ends(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("short", (PYTHON, "-c", "print('no room'); raise SystemExit(3)"), os.environ)
        with pytest.raises(WardroundError, match="short ended with 3: no room") as refused:
            processes.wait_until(lambda: None, "nothing", PATIENCE)
        assert refused.value.code == "WR-1523"


def test_waiting_ends_when_the_time_is_over_and_with_what_is_found(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("long", FOREVER, os.environ)
        with pytest.raises(WardroundError, match=r"nothing: not within 0\.05 s"):
            processes.wait_until(lambda: None, "nothing", 0.05)
        assert processes.wait_until(lambda: 7, "seven", 0.05) == 7


def test_a_command_is_run_to_its_end_and_refused_when_it_fails(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.run("fine", (PYTHON, "-c", "print('done')"), os.environ, PATIENCE)
        assert (tmp_path / "fine.txt").read_text(encoding="utf-8") == "done\n"
        with pytest.raises(WardroundError, match="worse ended with 1: RuntimeError: bad"):
            processes.run("worse", (PYTHON, "-c", "raise RuntimeError('bad')"), os.environ, PATIENCE)
        with pytest.raises(WardroundError, match=r"slow took longer than 0\.1 s"):
            processes.run("slow", FOREVER, os.environ, 0.1)


def test_processes_see_the_environment_that_they_are_given_and_no_other(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        show = (PYTHON, "-c", "import os; print(os.environ.get('GIVEN'), os.environ.get('HOME'))")
        processes.run("show", show, {"GIVEN": "yes"}, PATIENCE)
    assert (tmp_path / "show.txt").read_text(encoding="utf-8") == "yes None\n"


def test_work_and_memory_are_seen_and_idleness_too(tmp_path: Path) -> None:
    busy = "kept = bytearray(b'1') * 100_000_000; print('up', flush=True)\nwhile True: pass"
    with Processes(tmp_path) as processes:
        working = processes.start("working", (PYTHON, "-c", busy), os.environ)
        idle = processes.start("idle", FOREVER, os.environ)
        for one in (working, idle):
            processes.wait_until(lambda one=one: True if one.last_words() == "up" else None, one.name, PATIENCE)
        before = cpu_seconds(working.pid)
        processes.wait_until(lambda: True if cpu_seconds(working.pid) > before + 0.1 else None, "work", PATIENCE)
        of_working, of_idle = watch([[working.pid], [idle.pid]], 0.3)
        assert of_idle.cpu_percent == 0
        assert of_working.resident_mb > 100 > of_idle.resident_mb
        assert resident_mb(working.pid, "VmHWM") >= of_working.resident_mb
        with pytest.raises(ValueError, match="VmNothing"):
            resident_mb(idle.pid, "VmNothing")


def test_a_family_has_no_member_that_ended() -> None:
    child = subprocess.Popen([PYTHON, "-c", "pass"])
    end = time.monotonic() + PATIENCE
    while child.pid in family(os.getpid()) and time.monotonic() < end:
        time.sleep(0.02)
    assert child.pid not in family(os.getpid())  # it is a zombie: nobody has waited for it
    assert child.wait() == 0


def test_free_ports_are_free() -> None:
    assert 1024 < free_port() < 65536
