"""Runs that are damaged, stopped or started twice: taken up again, or refused with a code; never mixed up."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from fakes.scenarios import chest_fields, chest_scenario

from wardround.common.errors import WardroundError
from wardround.simulations.experiment import new_request, simulate
from wardround.simulations.run_folder import LOCK, read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.simulations.results import Results

JOB = "jobs/local.coast.seed0"


def run(folder: Path, **sections: Any) -> Results:
    sections = {"training": {"rounds": 1, "epochs": 1}, "simulation": {"arms": ["local"]}} | sections
    return simulate(new_request(chest_scenario(**sections), None, device="cpu"), folder)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    run(tmp_path / "run")
    return tmp_path / "run"


def stamp(folder: Path, job: str = JOB) -> int:
    return (folder / job / "done.json").stat().st_mtime_ns


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("cases.csv", "shorten"),
        ("history.json", "delete"),
        ("done.json", "overwrite"),
        ("model/model.safetensors", "overwrite"),
    ],
)
def test_a_finished_arm_that_was_damaged_is_run_again(finished: Path, name: str, damage: str) -> None:
    cases = (finished / "cases.csv").read_bytes()
    before = stamp(finished)
    run(finished)
    assert stamp(finished) == before, "the positive control: an undamaged arm is kept"
    path = finished / JOB / name
    if damage == "delete":
        path.unlink()
    else:
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-1]) if damage == "shorten" else b"\xff\xfe damaged")
    run(finished)
    assert stamp(finished) != before
    assert (finished / "cases.csv").read_bytes() == cases


def test_a_finished_run_is_resumed_with_several_workers(finished: Path) -> None:
    before, results = stamp(finished), (finished / "results.json").read_bytes()
    simulate(read_request(finished), finished, workers=2)
    assert stamp(finished) == before
    assert (finished / "results.json").read_bytes() == results


def test_other_files_of_a_run_are_written_again(finished: Path) -> None:
    cases = (finished / "cases.csv").read_bytes()
    files = [finished / name for name in ("study.json", "settings.json", "results.json", "rounds.jsonl", "cases.csv")]
    for file in files:
        file.write_bytes(b"\xff\xfe damaged")
    run(finished)
    assert not [file.name for file in files if file.read_bytes() == b"\xff\xfe damaged"]
    assert (finished / "cases.csv").read_bytes() == cases


def test_results_of_different_data_are_not_put_together(tmp_path: Path) -> None:
    """The images of a hospital change between the first attempt and the second."""
    run(tmp_path / "drawn")
    source = tmp_path / "drawn" / "sites" / "north"
    fields: dict[str, Any] = {
        "sites": ["north"],
        "simulation": {
            "arms": ["local"],
            "unseen": [],
            "phantom": None,
            "source": {
                "modality": "DX",
                "table": {"file": "north/table.csv"},
                "patient": {"column": "patient"},
                "channels": [{"name": "image", "column": "image", "format": "png"}],
                "target": {"kind": "binary", "column": "abnormal", "classes": {"0": "", "1": "abnormal"}},
            },
            "sites": [{"name": "north"}],
        },
        "training": {"rounds": 1, "epochs": 1},
    }
    asked = new_request(chest_scenario(**fields), source.parent, device="cpu")
    simulate(asked, tmp_path / "run")
    simulate(asked, tmp_path / "run")
    results = (tmp_path / "run" / "results.json").read_bytes()
    first, second = sorted((source / "images").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(WardroundError) as refused:
        simulate(asked, tmp_path / "run")
    assert refused.value.code == "WR-1507"
    assert (tmp_path / "run" / "results.json").read_bytes() == results


def test_two_processes_do_not_work_in_one_folder(finished: Path) -> None:
    with (finished / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WardroundError) as refused:
            run(finished)
        assert refused.value.code == "WR-1505"
    run(finished)


def test_a_run_refused_before_training_can_be_asked_for_in_another_way(tmp_path: Path) -> None:
    with pytest.raises(WardroundError):
        run(tmp_path / "run", split={"min_patients": 1000})
    run(tmp_path / "run")
    with pytest.raises(WardroundError) as refused:
        run(tmp_path / "run", split={"min_patients": 1})
    assert refused.value.code == "WR-1501", "the positive control: what was trained is kept"


def test_a_model_that_does_not_fit_is_refused_before_hospitals_are_made(tmp_path: Path) -> None:
    with pytest.raises(WardroundError) as refused:
        run(tmp_path / "run", model={"name": "small_cnn", "parameters": {"widths": [0]}})
    assert refused.value.code == "WR-1202"
    assert not (tmp_path / "run" / "hospitals").exists()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A long run with two workers in a group of processes of its own, some way into training."""
    fields = chest_fields()
    fields["training"] |= {"rounds": 200, "epochs": 200}
    study = tmp_path / "study.toml"
    study.write_text(tomli_w.dumps(fields), encoding="utf-8")
    folder = tmp_path / "run"
    program = Path(sys.executable).with_name("wardround")
    command = [str(program), "simulate", str(study), "--out", str(folder)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, and so inherited, in background jobs
    process = subprocess.Popen(
        [*command, "--workers", "2", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    signal.signal(signal.SIGINT, before)
    try:
        wait_for(lambda: len(list(folder.glob("jobs/*/plan.json"))) >= 2)
        yield process, folder
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(condition: Any, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Process ids of the worker processes."""
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (task / "stat").read_text(), (task / "cmdline").read_text()
        except OSError:  # it ended meanwhile
            continue
        if int(status.rsplit(")", 1)[1].split()[1]) == process.pid and "spawn_main" in command:
            found.append(int(task.name))
    return found


def gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_an_interrupted_run_says_how_to_go_on(started: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = started
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "WR-1508" in out
    assert f"--resume {folder}" in err
    assert "Traceback" not in err


def test_a_killed_worker_ends_the_run_with_a_code(started: tuple[subprocess.Popen[str], Path]) -> None:
    process, _ = started
    os.kill(workers(process)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "WR-1504" in out
    assert "Traceback" not in err


def test_workers_end_with_a_killed_parent(started: tuple[subprocess.Popen[str], Path]) -> None:
    process, _ = started
    mine = workers(process)
    assert len(mine) == 2
    process.kill()
    wait_for(lambda: all(gone(pid) for pid in mine), 20)
