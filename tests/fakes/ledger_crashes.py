"""A hospital that is killed again and again while it pays for studies.

Run as a program: ``python ledger_crashes.py FOLDER KILLS SEED [late]``. Every life is a process of its own. It goes on
with the studies of the ledger as an agent would: it reserves, pays for a round, trains it, settles, is told of
withdrawals and limits. It dies before a line of the ledger's code that is drawn at random, or after a time that is
drawn at random, in the middle of whatever SQLite or the system are doing. What it paid for and what it trained it
writes to a journal that is not the ledger's. After each death the ledger is read by somebody new and compared with the
journal.

With ``late`` the hospital trains first and pays afterwards: the control, which the comparison has to find out.

The comparison knows nothing of :mod:`wardround.client.ledger.state`: it reads the events' JSON from the file.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fakes.ledgers import MECHANISM, NOW, cohort, ledger, limited, study

from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId
from wardround.common.privacy.rdp import ORDERS, budget, rdp

if TYPE_CHECKING:
    from types import FrameType

    from wardround.client.ledger.ledger import Ledger

EPSILON: Final = 6.0
COHORTS: Final = tuple(
    cohort(patients) for patients in (range(30), range(20, 50), range(40, 45), range(60, 70), range(10, 62))
)
COST: Final = rdp(MECHANISM, ORDERS)
TRACED: Final = ("/client/ledger/", "/client/home.py")
STUDIES: Final = 60


class Journal:
    """What the hospital did, line by line; a line is there or not."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *what: object) -> None:
        """One line."""
        os.write(self._handle, (json.dumps(what) + "\n").encode())


def live(folder: Path, random_numbers: random.Random, journal: Journal, *, late: bool) -> None:
    """One life: operations until death or for a while."""
    book = ledger(folder)
    for _ in range(40):
        try:
            act(book, random_numbers, journal, late=late)
        except WardroundError as error:
            if error.code not in {"WR-1807", "WR-1810"}:
                raise
    journal.write("lived")


def act(book: Ledger, random_numbers: random.Random, journal: Journal, *, late: bool) -> None:
    """One operation of the hospital."""
    runs = book.state().runs
    still = [run for run in runs.values() if not run.settled]
    kind = random_numbers.choices(("reserve", "train", "settle", "limit", "withdraw"), (4, 12, 2, 1, 0.05))[0]
    if kind == "reserve" or not still:
        number = random_numbers.randrange(STUDIES)
        run, patients = StudyRunId(f"run{number}"), COHORTS[number % len(COHORTS)]
        if run not in runs:
            book.reserve(run, study(number), patients, mechanism=MECHANISM, steps=1 + number % 4, rounds=3, now=NOW)
    elif kind == "train":
        chosen = random_numbers.choice(still)
        train(book, chosen.reserved.run, random_numbers.randint(1, 3), journal, late=late)
    elif kind == "settle":
        book.settle(random_numbers.choice(still).reserved.run, now=NOW)
    elif kind == "limit":
        book.set_limit(EPSILON, 1e-5, admin="Ada", reason="the same once more", now=NOW)
    else:
        book.withdraw(cohort([random_numbers.randrange(60, 70)]), now=NOW)


def train(book: Ledger, run: StudyRunId, number: int, journal: Journal, *, late: bool) -> None:
    """Pay for the next computation of a round, then compute it; the other way round where ``late``."""
    computation = book.computations(run, number) + 1
    patients = COHORTS[int(run.removeprefix("run")) % len(COHORTS)]
    steps = book.state().runs[run].reserved.steps
    if late:
        compute(journal, run, number, computation, steps)
    receipt = book.spend(run, number, computation, patients, now=NOW)
    journal.write("paid", run, number, computation, receipt.steps)
    if not late:
        compute(journal, run, number, computation, receipt.steps)


def compute(journal: Journal, run: StudyRunId, number: int, computation: int, steps: int) -> None:
    """The training itself."""
    for step in range(steps):
        journal.write("step", run, number, computation, step)


def die(random_numbers: random.Random) -> None:
    """Choose how this life ends."""
    if random_numbers.random() < 0.5:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process at any instruction
        signal.setitimer(signal.ITIMER_REAL, random_numbers.uniform(0.001, 0.2))
        return
    left = random_numbers.randint(1, 10_000)

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not any(part in frame.f_code.co_filename for part in TRACED):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os._exit(9)
        return count

    sys.settrace(count)


def one_life(folder: Path, seed: int, *, late: bool) -> bool:
    """A process that lives and dies; whether it was killed."""
    child = os.fork()
    if child == 0:
        random_numbers = random.Random(seed)  # noqa: S311 - a schedule
        journal = Journal(folder / "journal")
        try:
            die(random_numbers)
            live(folder, random_numbers, journal, late=late)
        except BaseException as error:  # noqa: BLE001 - a fork must not go on as its parent, and its error must be seen
            journal.write("error", repr(error))
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 9


def events(folder: Path) -> list[dict[str, Any]]:
    """The ledger's events, straight from the file."""
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as database:
        rows = database.execute("SELECT content FROM events ORDER BY sequence").fetchall()
    return [json.loads(content) for (content,) in rows]


def compare(folder: Path) -> dict[str, int]:
    """What is wrong between journal and ledger; every number has to be 0."""
    ledger(folder).check()
    found = events(folder)
    lines = [json.loads(line) for line in (folder / "journal").read_text(encoding="utf-8").splitlines()]
    charged = Counter(
        (event["run"], event["round"], event["computation"]) for event in found if event["kind"] == "spent"
    )
    receipts = Counter((run, number, computation) for kind, run, number, computation, _ in filter(is_paid, lines))
    steps = Counter(tuple(line[1:5]) for line in lines if line[0] == "step")
    return {
        "double spends": sum(count > 1 for count in charged.values()) + sum(count > 1 for count in receipts.values()),
        "lost payments": len(receipts.keys() - charged.keys()),
        "unpaid steps": sum((run, number, computation) not in charged for run, number, computation, _ in steps),
        "repeated steps": sum(count > 1 for count in steps.values()),
        "overspent patients": overspent(found),
        "errors": sum(line[0] == "error" for line in lines),
    }


def is_paid(line: list[Any]) -> bool:
    """Whether a line of the journal is about a receipt."""
    return bool(line[0] == "paid")


def overspent(found: list[dict[str, Any]]) -> int:
    """Patients whose spent and reserved steps exceed the limit, counted one by one."""
    runs = {event["run"]: event for event in found if event["kind"] == "reserved"}
    ended = {event["run"] for event in found if event["kind"] == "settled"}
    spent = [event for event in found if event["kind"] == "spent"]
    members = {patients.digest: set(patients) for patients in COHORTS}
    room = budget(EPSILON, 1e-5, ORDERS)
    steps = Counter[bytes]()
    for name, run in runs.items():
        own = [event for event in spent if event["run"] == name]
        rounds = len(own) if name in ended else len(own) + run["rounds"] - len({event["round"] for event in own})
        for patient in members[run["cohort"]]:
            steps[patient] += rounds * run["steps"]
    return sum(not (count * COST <= room + 1e-9).any() for count in steps.values())


def main(folder: Path, kills: int, seed: int, *, late: bool) -> dict[str, Any]:
    """Lives until so many were killed; the sums of what was wrong, and how much there was of what."""
    limited(folder, EPSILON)
    wrong, killed, lives = Counter[str](), 0, 0
    while killed < kills:
        killed += one_life(folder, seed * 100_000 + lives, late=late)
        lives += 1
        wrong.update(compare(folder))
        if lives > 4 * kills + 20:
            raise RuntimeError("too few lives end by being killed")
    kinds = Counter(event["kind"] for event in events(folder))
    paid = sum(is_paid(json.loads(line)) for line in (folder / "journal").read_text(encoding="utf-8").splitlines())
    return {"wrong": wrong, "killed": killed, "lives": lives, "kinds": kinds, "receipts": paid}


if __name__ == "__main__":
    answer = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), late="late" in sys.argv)
    sys.stdout.write(json.dumps(answer))
