"""``wardround attack secagg``: a malicious coordinator against the secure sum."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.simulations.attacks import (
    cases_cohort,
    cases_confirmation,
    cases_input,
    cases_keys,
    cases_opening,
    cases_round,
    cases_session,
)
from wardround.simulations.attacks.carry_out import carry_out
from wardround.simulations.attacks.case import SITES
from wardround.simulations.attacks.results import AttackReport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from wardround.simulations.attacks.case import Case
    from wardround.simulations.attacks.results import CaseResult

NAME: Final = "secagg"
CASES: Final[dict[str, Case]] = {
    case.name: case
    for room in (cases_keys, cases_cohort, cases_session, cases_round, cases_opening, cases_confirmation, cases_input)
    for case in room.CASES
}


def attack_secagg(
    folder: Path,
    *,
    names: Collection[str] = (),
    sites: Collection[int] = SITES,
    watch: Callable[[int, int], None] = lambda _done, _all: None,
) -> AttackReport:
    """Carry out every attack at every size, side by side on the cores of this machine.

    Args:
        folder: Where the transcripts go; made if it is missing.
        names: The attacks; all of them when empty.
        sites: The sizes.
        watch: Told after each attack how many are done, of how many.

    Raises:
        WardroundError: WR-1522, there is no such attack.
    """
    chosen = _chosen(names)
    folder.mkdir(parents=True, exist_ok=True)
    # The largest first, so that no core waits long for the last one.
    jobs = [(case, n) for n in sorted(sites, reverse=True) for case in chosen if n not in case.senseless]
    found = []
    for result in _carried_out(jobs, folder):
        found.append(result)
        watch(len(found), len(jobs))
    order = {case.name: place for place, case in enumerate(chosen)}
    return AttackReport(
        attack=NAME,
        cases=tuple(sorted(found, key=lambda result: (order[result.case], result.n))),
        folder=str(folder),
        senseless=tuple(line for case in chosen for line in _left_out(case, sites)),
    )


def _left_out(case: Case, sites: Collection[int]) -> Iterator[str]:
    for why in dict.fromkeys(case.senseless.values()):
        sizes = [str(n) for n in sorted(sites) if case.senseless.get(n) == why]
        if sizes:
            yield f"{case.name} at n = {', '.join(sizes)}: {why}"


def _chosen(names: Collection[str]) -> list[Case]:
    unknown = sorted(set(names) - CASES.keys())
    if unknown:
        known = ", ".join(CASES)
        raise WardroundError("WR-1522", f"There is no attack {unknown[0]!r} on the secure sum; there are {known}.")
    return [case for case in CASES.values() if not names or case.name in names]


def _carried_out(jobs: Sequence[tuple[Case, int]], folder: Path) -> Iterator[CaseResult]:
    workers = min(len(jobs), os.cpu_count() or 1)
    if workers < 2 or max(n for _, n in jobs) < max(SITES):  # small ones are done before a process has started
        yield from (carry_out(case, n, folder) for case, n in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_job, [(case.name, n, folder) for case, n in jobs])


def _job(job: tuple[str, int, Path]) -> CaseResult:
    name, n, folder = job
    return carry_out(CASES[name], n, folder)
