"""What stays with a process and what goes back, in a process of its own: the setting is the whole process's."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc, resource, sys, time
from pathlib import Path
from wardround.server.memory import tend_memory

MIB = 1 << 20
gc.disable()

def resident():
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS"))
    return int(line.split()[1])

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

class Message:
    def __init__(self, size):
        self.content, self.itself = bytes(b"x" * size), self

if sys.argv[1] == "bounded":
    tend_memory(0.2)
small = []
def pieces():
    found = []
    for _ in range(8):
        found.append(bytes(b"x" * 4 * MIB))
        small.append(bytearray(50_000))  # lies behind it
    return found

kept = pieces()
del kept
asked = faults()
kept = pieces()
asked = faults() - asked
before = resident()
del kept
for _ in range(4):
    Message(4 * MIB)  # only the collector frees it
held = resident()
end = time.process_time() + 0.6
while time.process_time() < end:
    pass
time.sleep(1.5)
print(asked, held - resident())
"""


def measured(how: str) -> tuple[int, int]:
    """Pages that eight pieces of 4 MiB asked for the second time, and kilobytes that went back in quiet."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True, timeout=120)
    asked, back = map(int, done.stdout.split())
    return asked, back


def test_memory_of_pieces_stays_while_a_process_works_and_goes_back_when_it_is_quiet() -> None:
    asked, back = measured("bounded")
    assert asked < 3_000
    assert back > 30_000
    asked, back = measured("as it is")  # the control
    assert asked > 8_000
    assert back < 4_000
