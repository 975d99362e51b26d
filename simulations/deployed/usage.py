"""What processes use of processor and memory, as Linux counts it in ``/proc``."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Use:
    """What a group of processes used while nothing was asked of it.

    Attributes:
        cpu_percent: Of one core, mean over the time.
        resident_mb: Resident memory at the end, MB of 1e6 bytes; pages that several share count for each.
    """

    cpu_percent: float
    resident_mb: float


def watch(groups: Sequence[Sequence[int]], seconds: float) -> list[Use]:
    """Watch groups of processes, all at the same time.

    Args:
        groups: Process ids.
        seconds: For how long.
    """
    before = [[cpu_seconds(pid) for pid in group] for group in groups]
    begin = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    return [
        Use(
            cpu_percent=100 * (sum(cpu_seconds(pid) for pid in group) - sum(then)) / elapsed,
            resident_mb=sum(resident_mb(pid) for pid in group),
        )
        for group, then in zip(groups, before, strict=True)
    ]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, without its children.

    Raises:
        FileNotFoundError: There is no such process.
    """
    fields = _status(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process, MB of 1e6 bytes.

    Args:
        pid: The process.
        field: ``VmRSS`` for now, ``VmHWM`` for the most so far.

    Raises:
        FileNotFoundError: There is no such process.
        ValueError: It has ended and was not waited for.
    """
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"a process has no {field}")


def family(pid: int) -> tuple[int, ...]:
    """A process and all processes below it that have not ended."""
    found = [pid]
    for one in found:
        with suppress(FileNotFoundError):
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                found += [int(child) for child in children.read_text(encoding="utf-8").split()]
    return tuple(one for one in found if _lives(one))


def _lives(pid: int) -> bool:
    try:
        return _status(pid)[0] != "Z"
    except FileNotFoundError:
        return False


def _status(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the state on, see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
