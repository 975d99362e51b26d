"""The worker as a real process: what it answers, what it sees, and what its death costs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.agents import change_settings, one_hospital

from wardround.client.agent.frames import Question, VectorForm
from wardround.client.agent.warm import Worker
from wardround.client.app import app as installed_app
from wardround.client.app import resident
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyId
from wardround.common.wire.records import RAW_FLOAT32

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.common.study import Study

HELLO = Question("query.hello", 1, {})


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Study]:
    return one_hospital(tmp_path_factory.mktemp("worker"))


@pytest.fixture
def worker(hospital: tuple[Home, Study]) -> Iterator[Worker]:
    found = Worker(hospital[0].path)
    yield found
    found.stop()


def training(study: Study, size: int, layout: str) -> tuple[Question, bytes]:
    fields = {"study": study.id, "run": "r", "seed": 0, "layout": layout, "round": 1, "rounds": 3, "start": 0}
    question = Question("train", 1, fields | {"samples": 8}, VectorForm("float32", (size,), RAW_FLOAT32))
    return question, np.zeros(size, dtype="<f4").tobytes()


def test_it_answers_as_the_installed_app_does_in_this_process(worker: Worker, hospital: tuple[Home, Study]) -> None:
    home, study = hospital
    layout = worker.layout(study.id)
    here = resident(str(home.path)).model(study).layout
    assert layout == here
    question, vector = training(study, layout.size, layout.hash)
    reply, update = worker.ask(question, vector)
    expected, vector_here = _answer_here(home, question, vector)
    timeless = {"seconds", "train_seconds"}
    assert {k: v for k, v in (reply.fields or {}).items() if k not in timeless} == {
        k: v for k, v in expected.items() if k not in timeless
    }
    assert reply.vector == VectorForm("float32", (layout.size,), RAW_FLOAT32)
    assert bytes(update) == vector_here
    assert any(np.frombuffer(update, dtype="<f4"))


def _answer_here(home: Home, question: Question, vector: bytes) -> tuple[dict[str, object], bytes]:
    from wardround.client.agent.worker import to_flower

    reply = installed_app(*to_flower(question, bytearray(vector), str(home.path)))
    return dict(reply.content["message"]), reply.content["vector"]["vector"].data  # type: ignore[arg-type]


def test_a_study_that_nobody_approved_has_no_layout(worker: Worker) -> None:
    with pytest.raises(WardroundError) as refusal:
        worker.layout(StudyId("sha256:" + "0" * 64))
    assert refusal.value.code == "WR-1304"


def test_an_unknown_kind_is_refused(worker: Worker) -> None:
    reply, _ = worker.ask(Question("query.shell", 1, {}))
    assert reply.reason is not None
    assert reply.reason.startswith("WR-1301")


def test_death_in_the_middle_of_training_costs_that_message_alone(worker: Worker, hospital: tuple[Home, Study]) -> None:
    study = hospital[1]
    layout = worker.layout(study.id)
    question, vector = training(study, layout.size, layout.hash)
    long = Question(question.kind, 1, question.fields | {"samples": 10_000_000}, question.vector)
    first = worker.process
    assert first is not None
    killer = threading.Timer(0.5, os.kill, (first, signal.SIGKILL))
    killer.start()
    with pytest.raises(WardroundError) as refusal:
        worker.ask(long, vector)
    assert (refusal.value.code, "SIGKILL" in refusal.value.what) == ("WR-1917", True)
    assert worker.ask(question, vector)[0].fields is not None
    assert worker.process != first


def test_a_worker_that_runs_out_of_memory_costs_that_message_alone(tmp_path: Path) -> None:
    home, study = one_hospital(tmp_path, input={"size": [1024, 1024]}, model={"parameters": {"widths": [64, 8]}})
    worker = Worker(home.path)
    try:
        layout = worker.layout(study.id)
        question, vector = training(study, layout.size, layout.hash)
        assert worker.ask(question, vector)[0].fields is not None  # with no limit it is well
        change_settings(home, "threads = 1", "threads = 1\n[worker]\nmemory_mb = 2048")
        with pytest.raises(WardroundError) as refusal:
            worker.ask(question, vector)
        assert (refusal.value.code, "out of memory" in refusal.value.what) == ("WR-1917", True)
        assert worker.ask(HELLO)[0].fields == {"site": home.site}
    finally:
        worker.stop()


def test_a_gpu_that_is_asked_for_and_absent_is_refused(tmp_path: Path) -> None:
    home, _ = one_hospital(tmp_path)
    change_settings(home, 'device = "cpu"', 'device = "cuda:99"')
    worker = Worker(home.path)
    for _ in range(2):  # it looks again every time
        with pytest.raises(WardroundError) as refusal:
            worker.ask(HELLO)
        assert refusal.value.code == "WR-1918"
    change_settings(home, 'device = "cuda:99"', 'device = "cpu"')
    try:
        assert worker.ask(HELLO)[0].fields == {"site": home.site}
    finally:
        worker.stop()


def test_a_gpu_that_was_there_before_is_not_replaced_by_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    home, _ = one_hospital(tmp_path)
    change_settings(home, 'device = "cpu"', 'device = "auto"')
    control = Worker(home.path)
    assert control.start().device == "cpu"
    control.stop()
    worker = Worker(home.path, last_device="cuda")
    with pytest.raises(WardroundError) as refusal:
        worker.ask(HELLO)
    assert refusal.value.code == "WR-1918"
    change_settings(home, 'device = "auto"', 'device = "cpu"')
    try:
        assert worker.ask(HELLO)[0].fields is not None
    finally:
        worker.stop()


def test_it_sees_no_secret_of_the_agent_and_no_open_file(
    hospital: tuple[Home, Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started as ever, but with a program in the interpreter's place that writes down what it was given."""
    seen, script = tmp_path / "seen", tmp_path / "python"
    script.write_text(f"#!/bin/sh\nenv > {shlex.quote(str(seen))}\nls -l /proc/self/fd >> {shlex.quote(str(seen))}\n")
    script.chmod(0o700)
    secrets = {"https_proxy": "http://user:sesame@proxy", "WARDROUND_HOME": "sesame", "FLWR_SECRET": "sesame"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    key = tmp_path / "sesame.key"
    key.write_text("secret")
    with key.open() as held:
        os.set_inheritable(held.fileno(), True)
        with pytest.raises(WardroundError):
            Worker(hospital[0].path, command=[str(script)]).start()
    text = seen.read_text()
    assert "OMP_WAIT_POLICY=passive" in text  # it was written by what was started in the worker's place
    assert "sesame" not in text


def test_what_libraries_keep_lies_in_the_home(hospital: tuple[Home, Study]) -> None:
    from wardround.client.agent.environment import worker_environment

    home = hospital[0].path
    found = worker_environment(home, 2, {"PATH": "/bin", "HOME": "/root"})
    places = [found[name] for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "MPLCONFIGDIR", "FLWR_HOME")]
    assert set(places) == {str(home / "worker")}
    assert found["OMP_NUM_THREADS"] == "2"
    assert (home / "worker").stat().st_mode & 0o777 == 0o700


def test_it_ends_with_its_agent(hospital: tuple[Home, Study]) -> None:
    """An agent that is killed leaves no worker behind."""
    import subprocess

    code = (
        "import sys, time\nfrom pathlib import Path\nfrom wardround.client.agent.warm import Worker\n"
        "w = Worker(Path(sys.argv[1]))\nw.start()\nprint(w.process, flush=True)\ntime.sleep(1000)\n"
    )
    command = [sys.executable, "-c", code, str(hospital[0].path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        worker = int(agent.stdout.readline())
        os.kill(worker, 0)  # it is there
        descriptor = os.pidfd_open(worker)
        agent.kill()
        import select

        assert select.select([descriptor], [], [], 60)[0]
        os.close(descriptor)
