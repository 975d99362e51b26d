"""What stays with a process and what goes back, in a process of its own: the setting is the whole process's."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource
from pathlib import Path
from wardround.common.memory import bound_free_memory

def resident():
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS"))
    return int(line.split()[1])

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {given}:
    assert bound_free_memory()
for _ in range(3):
    vectors = [bytes(b"x" * (24 << 20)) for _ in range(2)]
    small = bytearray(100_000)  # lies behind them
    before = resident()
    del vectors
    back = before - resident()
    pieces = [bytes(b"x" * (4 << 20)) for _ in range(4)]
    del pieces
    asked = faults()
    pieces = [bytes(b"x" * (4 << 20)) for _ in range(4)]
    print(back, faults() - asked)
    del pieces
"""


def measured(given: bool) -> list[tuple[int, int]]:  # noqa: FBT001
    """Kilobytes that two vectors of 24 MiB gave back, and pages that four pieces of 4 MiB asked for, three times."""
    script = SCRIPT.replace("{given}", str(given))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return [(int(back), int(asked)) for back, asked in map(str.split, done.stdout.splitlines())]


def test_vectors_go_back_and_pieces_stay() -> None:
    found = measured(given=True)
    assert min(back for back, _ in found) > 45_000
    assert min(asked for _, asked in found) < 100
    assert min(back for back, _ in measured(given=False)) < 20_000  # the control: by itself the C library keeps them
