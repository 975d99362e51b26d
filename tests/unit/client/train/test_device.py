"""A device is what was asked for, or an error."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from wardround.client.train.device import choose_device, gpu_memory_errors, set_threads
from wardround.common.errors import WardroundError


def test_cpu_is_described_and_computes_in_float32() -> None:
    device = choose_device("cpu")
    assert device.kind == torch.device("cpu")
    assert device.description.startswith("cpu (")
    assert device.amp is None
    assert not device.is_gpu


def test_an_absent_gpu_is_never_replaced() -> None:
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(WardroundError) as refused:
        choose_device(absent)
    assert refused.value.code == "WR-1601"
    assert choose_device("auto").kind.type == ("cuda" if torch.cuda.device_count() else "cpu")


@pytest.mark.gpu
def test_a_present_gpu_is_used_with_mixed_precision() -> None:
    device = choose_device("cuda")
    assert device.kind == torch.device("cuda", 0)
    assert device.amp in {torch.bfloat16, torch.float16}


@pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_unknown_words_are_refused(wanted: str) -> None:
    with pytest.raises(WardroundError) as refused:
        choose_device(wanted)
    assert refused.value.code == "WR-1602"


def test_full_gpu_memory_becomes_an_error_with_a_remedy() -> None:
    with pytest.raises(WardroundError) as refused, gpu_memory_errors():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    assert refused.value.code == "WR-1603"
    with pytest.raises(RuntimeError, match="something else"), gpu_memory_errors():
        raise RuntimeError("something else")


def test_threads() -> None:
    before = torch.get_num_threads()
    set_threads(1)
    assert torch.get_num_threads() == 1
    set_threads(before)
    with pytest.raises(ValueError, match="one thread"):
        set_threads(0)


MEASURE = """
import resource, sys, torch
from wardround.client.train.device import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def batch():
    for _ in range(5):
        torch.ones(16_000_000).add_(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    batch()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
batch()
print(min(faults() for _ in range(4)))  # a small block in between may keep one batch from fitting where the last lay
"""


def test_memory_that_is_kept_is_not_asked_for_again() -> None:
    def page_faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", MEASURE, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    # 5 tensors of 64 MB, above what the library learns to keep by itself, are 78,000 pages of 4 KiB or 160 of 2 MiB.
    assert page_faults("keep") < 20 or platform.libc_ver()[0] != "glibc"
    assert page_faults("hand back") > 20 or platform.libc_ver()[0] != "glibc"
