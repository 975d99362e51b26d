"""Progress for people: rounds, sites and time left, on a terminal or line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from wardround.common.wire.noisy import TRAIN
from wardround.common.wire.private import UPLOAD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Console
    from rich.progress import TaskID

    from wardround.simulations.grid import Handled
    from wardround.simulations.job import Job


class RichProgress:
    """Shows every study run that is under way with its round and the site at work.

    Args:
        console: Where to show it; progress belongs on standard error.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._stage: TaskID | None = None
        self._all: TaskID | None = None
        self._bars: dict[str, TaskID] = {}
        self._jobs: dict[str, Job] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, title: str, total: int) -> None:
        """A new stage begins with this many steps."""
        self._stage = self._progress.add_task(title, total=total, note="")

    def step(self) -> None:
        """One step of the stage is done."""
        if self._stage is not None:
            self._progress.advance(self._stage)

    def jobs(self, jobs: Sequence[Job]) -> None:
        """Training begins; what an earlier run finished counts as done."""
        self._jobs = {job.run: job for job in jobs}
        total = sum(job.messages for job in jobs)
        done = sum(job.messages for job in jobs if job.finished())
        self._all = self._progress.add_task(f"Training {len(jobs)} models", total=total, completed=done, note="")

    def handled(self, run: str, handled: Handled) -> None:
        """A hospital answered a message of this study run."""
        job = self._jobs[run]
        if run not in self._bars:
            self._bars[run] = self._progress.add_task(f"  {job.arm}", total=job.messages, note="")
        if handled.kind not in ("train", TRAIN, UPLOAD):
            self._progress.update(self._bars[run], note=f"{handled.kind}, {handled.site}")
            return
        number, _, attempt = handled.group.partition(".")
        if int(number) > job.study.training.rounds:
            self._progress.update(self._bars[run], note=f"last validation, {handled.site}")
            return
        again = attempt not in ("", "1")
        note = f"round {number}/{job.study.training.rounds}{f', attempt {attempt}' if again else ''}, {handled.site}"
        self._progress.update(self._bars[run], advance=0 if again else 1, note=note)
        if self._all is not None and not again:
            self._progress.advance(self._all)

    def finished(self, run: str) -> None:
        """A study run ended; its bar goes away."""
        bar = self._bars.pop(run, None)
        if bar is not None:
            self._progress.remove_task(bar)


class QuietProgress:
    """Shows nothing: for --json, notebooks and tests."""

    def stage(self, title: str, total: int) -> None:
        """A new stage begins."""

    def step(self) -> None:
        """One step of the stage is done."""

    def jobs(self, jobs: Sequence[Job]) -> None:
        """Training begins."""

    def handled(self, run: str, handled: Handled) -> None:
        """A hospital answered a message of this study run."""

    def finished(self, run: str) -> None:
        """A study run ended."""
