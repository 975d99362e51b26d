"""One of two processes of a hospital that take from one ledger at the same time.

Run as a program: ``python ledger_race.py FOLDER NAME``. It waits for the file ``start``, then reserves studies,
computes rounds again and again, and stops when nothing is left. It answers with how many steps it was allowed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fakes.ledgers import MECHANISM, NOW, cohort, ledger, study

from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId

PATIENTS = {"one": cohort(range(30)), "two": cohort(range(20, 60))}
"""Ten patients are in both data sets."""

STEPS = 12


def main(folder: Path, name: str) -> int:
    """Take until nothing is left; the number of steps."""
    book, patients, steps = ledger(folder), PATIENTS[name], 0
    (folder / f"ready.{name}").touch()
    while not (folder / "start").exists():
        time.sleep(0.001)
    for number in range(10_000):
        run = StudyRunId(f"{name}{number}")
        try:
            book.reserve(run, study(number), patients, mechanism=MECHANISM, steps=STEPS, rounds=2, now=NOW)
            for computation in (1, 2, 3):
                book.spend(run, 1, computation, patients, now=NOW)
        except WardroundError as error:
            if error.code != "WR-1807":
                raise
            known = book.state().runs.get(run)
            return steps + (0 if known is None else known.spent_steps)
        steps += 3 * STEPS
    raise RuntimeError("there was no end")


if __name__ == "__main__":
    sys.stdout.write(str(main(Path(sys.argv[1]), sys.argv[2])))
