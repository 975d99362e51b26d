"""All problems of a data set at once: details to a file at the site, a summary without them in the error."""

from __future__ import annotations

import csv
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.common.errors import REGISTRY, WardroundError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROWS_NAMED = 5
"""How many row numbers an error message names."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one row.

    Attributes:
        row: Row number as a person sees it (header = 1).
        column: Column of the table.
        code: ``WR-11xx``.
        reason: What is wrong, without patient data.
        value: The value of the table; it goes to the details file only.
    """

    row: int
    column: str
    code: str
    reason: str
    value: str


def refuse(problems: Sequence[Problem], stem: str, folders: Sequence[Path]) -> None:
    """Write the details to the first writable folder and raise; return when there is no problem.

    Raises:
        WardroundError: The problems' common code, or WR-1106 when they are of several kinds.
    """
    if not problems:
        return
    codes = Counter(problem.code for problem in problems)
    code = next(iter(codes)) if len(codes) == 1 else "WR-1106"
    rows = sorted({problem.row for problem in problems})
    named = ", ".join(str(row) for row in rows[:ROWS_NAMED]) + (", …" if len(rows) > ROWS_NAMED else "")
    kinds = "; ".join(f"{REGISTRY[kind].title} ({count})" for kind, count in codes.most_common())
    if len(codes) == 1:
        kinds = f"{REGISTRY[code].title} (the first {problems[0].reason})"
    details = write_details(problems, f"{stem}.problems.csv", folders)
    where = f"details are in {details}" if details else "the details could not be written, no folder is writable"
    amount = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise WardroundError(code, f"{amount} in {'row' if len(rows) == 1 else 'rows'} {named}: {kinds}; {where}.")


def write_details(problems: Sequence[Problem], name: str, folders: Sequence[Path]) -> Path | None:
    """Write the details file, readable by its owner only, in the first folder that takes it."""
    for folder in folders:
        path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        except OSError:  # read-only data mounts are normal; the next folder is tried
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["row", "column", "code", "problem", "value"])
            for problem in sorted(problems, key=lambda one: (one.row, one.column)):
                writer.writerow([problem.row, problem.column, problem.code, problem.reason, _inert(problem.value)])
        return path
    return None


def _inert(value: str) -> str:
    """Keep a spreadsheet from running a value as a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
