"""The attacks by name, with a progress bar for people."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from wardround.common.errors import WardroundError
from wardround.simulations.attacks import secagg
from wardround.simulations.attacks.case import SITES
from wardround.simulations.attacks.leakage.results import NAME as LEAKAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from wardround.simulations.attacks.results import AttackReport


def run_attack(name: str, folder: Path, cases: Collection[str], sites: Collection[int], *, quiet: bool) -> AttackReport:
    """Carry out a suite.

    Args:
        name: Which one.
        folder: Where the transcripts go.
        cases: Which attacks; all when empty.
        sites: At which sizes; all when empty.
        quiet: No progress bar.

    Raises:
        WardroundError: WR-1522, there is no such suite, attack or size.
    """
    if name != secagg.NAME:
        raise WardroundError("WR-1522", f"There is no attack {name!r}; there are {secagg.NAME} and {LEAKAGE}.")
    if not set(sites) <= set(SITES):
        raise WardroundError("WR-1522", f"Attacks are carried out with {', '.join(map(str, SITES))} sites.")
    with watching(quiet=quiet) as watch:
        return secagg.attack_secagg(folder, names=cases, sites=sites or SITES, watch=watch)


@contextmanager
def watching(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, and what tells it how many attacks are done, of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("attacks", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
