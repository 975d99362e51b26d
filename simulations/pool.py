"""Independent jobs side by side, each in a worker process with its own fixed number of threads."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.simulations.job import run_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.queues import Queue

    from wardround.simulations.grid import Handled
    from wardround.simulations.job import Job

    Observer = Callable[[str, Handled], None]
    Event = tuple[str, Handled]

LISTENER_SECONDS = 5.0
"""How long progress reports of ended workers are waited for; a worker that was killed may have left half of one."""

_events: Queue[Event] | None = None


def run_jobs(jobs: Sequence[Job], workers: int, observer: Observer, finished: Callable[[str], None]) -> None:
    """Run every job; with one worker in this process, else in ``workers`` processes.

    Args:
        jobs: What to run; none when every arm has already ended.
        workers: Processes at a time, 1 or more.
        observer: Called with the run's id and each message that a hospital answered.
        finished: Called with the run's id of each job that ended.

    Raises:
        WardroundError: What the first failing job raised; WR-1504, a worker process died.
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            run_job(job, lambda handled, run=job.run: observer(run, handled))  # type: ignore[misc]
            finished(job.run)
        return
    context = multiprocessing.get_context("spawn")
    events: Queue[Event] = context.Queue()
    over = threading.Event()
    listener = threading.Thread(target=_listen, args=(events, observer, over), daemon=True)
    listener.start()
    others = set(multiprocessing.active_children())
    try:
        with ProcessPoolExecutor(min(workers, len(jobs)), context, _start_worker, (events,)) as executor:
            futures = {executor.submit(_work, job): job for job in jobs}
            try:
                for future in as_completed(futures):
                    future.result()
                    finished(futures[future].run)
            except Exception:
                executor.shutdown(wait=False, cancel_futures=True)
                raise
            except BaseException:  # interrupted: nobody waits for what the workers are doing
                executor.shutdown(wait=False, cancel_futures=True)
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()
                raise
    except BrokenProcessPool as error:
        raise WardroundError("WR-1504", "A worker process of the simulation died.") from error
    finally:
        over.set()
        listener.join(LISTENER_SECONDS)


def _start_worker(events: Queue[Event]) -> None:
    global _events  # noqa: PLW0603 - the only state of a worker process, set once when it starts
    _events = events
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to every process; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed must not go on writing to the run folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> None:
    sink = _events
    if sink is None:
        raise RuntimeError("the worker was not started by run_jobs")
    run_job(job, lambda handled: sink.put((job.run, handled)))


def _listen(events: Queue[Event], observer: Observer, over: threading.Event) -> None:
    while True:
        ending = over.is_set()
        try:
            event = events.get(timeout=0.2)
        except queue.Empty:
            if ending:
                return
            continue
        observer(*event)
