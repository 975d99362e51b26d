"""The RUN folder: opened once, never overwritten by another run, taken up again by the same one."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import platform
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from wardround.client.home import write_atomically
from wardround.common.errors import WardroundError
from wardround.common.study import Study
from wardround.simulations.faults import Fault
from wardround.simulations.scenario import Scenario, Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRARIES: Final = ("wardround", "flwr", "torch", "monai", "numpy", "scipy", "scikit-learn", "pandas")


_WORK: Final = "every arm consumes the same number of training samples"
_WORK_PROMISED: Final = "every arm takes the same number of steps, with the same sampling rate"


class RunRequest(BaseModel):
    """What a run was asked for; a run folder belongs to exactly one request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: Study
    simulation: Simulation
    faults: tuple[Fault, ...] = ()
    data_root: str | None
    seeds: tuple[int, ...]
    folds: int
    device: str
    threads: int
    measure_updates: bool = False

    @property
    def scenario(self) -> Scenario:
        """The scenario of the run."""
        return Scenario(self.study, self.simulation, self.faults)


LOCK: Final = ".lock"
"""Held by the process that works in the run folder; the system lets go of it however that process ends."""


@contextmanager
def open_run(run: Path, request: RunRequest, *, fix: str | None = None) -> Iterator[None]:
    """Make the run folder, or take up the same run again, and keep every other process out of it.

    Args:
        run: The folder.
        request: What it has to belong to.
        fix: What to do about another run in the folder; None: what simulate can do about it.

    Raises:
        WardroundError: WR-1501, the folder holds something else; WR-1505, another process works in it.
    """
    _refuse_another_run(run, request, fix)
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WardroundError("WR-1505", f"Another process works in the folder {run.name}.") from error
        _refuse_another_run(run, request, fix)  # another process may have begun a run since
        write_atomically(run / "request.json", request.model_dump_json(by_alias=True).encode())
        write_atomically(run / "study.json", request.study.canonical())
        yield


def _refuse_another_run(run: Path, request: RunRequest, fix: str | None) -> None:
    """Refuse what is not ours; a run that was refused before any training leaves nothing to lose."""
    if not run.exists():
        return
    path = run / "request.json"
    begun = (run / "jobs").exists() or (run / "results.json").exists()
    if path.exists() and begun and path.read_bytes() != request.model_dump_json(by_alias=True).encode():
        what = f"The folder {run.name} holds a run of another study or other settings."
        goes_on = f"wardround simulate --resume {shlex.quote(str(run))}"
        raise WardroundError("WR-1501", what, fix=fix or f"Give another --out, or continue the old run with: {goes_on}")
    if not path.exists() and (not run.is_dir() or any(item.name != LOCK for item in run.iterdir())):
        what = f"The folder {run.name} is not empty and holds no wardround run."
        raise WardroundError("WR-1501", what, fix=fix or "Give another --out.")


def read_request(run: Path) -> RunRequest:
    """What a run folder was made for.

    Raises:
        WardroundError: WR-1502, it is not a run folder.
    """
    try:
        return RunRequest.model_validate_json((run / "request.json").read_bytes())
    except (OSError, ValueError) as error:
        raise WardroundError("WR-1502", f"{run.name} is not a wardround run ({type(error).__name__}).") from error


def write_settings(run: Path, request: RunRequest, *, workers: int, device: str) -> None:
    """Write ``settings.json``: versions, machine, threads and seeds."""
    settings: dict[str, Any] = {
        **surroundings(),
        "backend": "inprocess",
        "device": device,
        "threads_per_site": request.threads,
        "workers": workers,
        "seeds": list(request.seeds),
        "folds": request.folds,
        "faults": [fault.model_dump() for fault in request.faults],
        "equal_work": _WORK if request.study.privacy is None else _WORK_PROMISED,
    }
    write_atomically(run / "settings.json", json.dumps(settings, indent=1).encode())


def surroundings() -> dict[str, Any]:
    """Versions and machine, as ``settings.json`` has them."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


def free_folder(parent: Path, name: str) -> Path:
    """The first of ``parent/name-1``, ``parent/name-2``, … that does not exist."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"
