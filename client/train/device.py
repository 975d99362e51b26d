"""Which processor a model runs on; never chosen silently against what was asked for."""

from __future__ import annotations

import ctypes
import platform
import re
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


_KEEP: Final = {-3: 1 << 30, -1: (1 << 31) - 1}
"""Values of M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3), bytes: larger blocks are mapped, more is trimmed."""


@dataclass(frozen=True, slots=True)
class Device:
    """A processor and how it is used.

    Attributes:
        kind: Where tensors live.
        description: For people and for ``settings.json``, for example ``cpu (AMD EPYC)``.
        amp: Data type of automatic mixed precision on a GPU; None on the CPU, which computes in
            float32.
    """

    kind: torch.device
    description: str
    amp: torch.dtype | None

    @property
    def is_gpu(self) -> bool:
        """Whether tensors have to be moved there."""
        return self.kind.type == "cuda"

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision where the device has it, else nothing."""
        return nullcontext() if self.amp is None else torch.autocast(self.kind.type, dtype=self.amp)


def choose_device(wanted: str) -> Device:
    """Choose the device.

    Args:
        wanted: ``auto`` (the first GPU if there is one, else the CPU), ``cpu``, ``cuda`` (the
            first GPU) or ``cuda:N``.

    Raises:
        WardroundError: WR-1601, a GPU was asked for and this process sees none of that number;
            WR-1602, ``wanted`` is none of these words.
    """
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", wanted) is None:
        raise WardroundError("WR-1602", f"There is no device {wanted!r}.")
    present = torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and present == 0):
        return Device(torch.device("cpu"), f"cpu ({_processor()})", None)
    number = int(wanted.partition(":")[2] or 0)
    if number >= present:
        raise WardroundError("WR-1601", f"{wanted!r} was asked for and this process sees {present} GPUs.")
    return _gpu(number)


def _gpu(number: int) -> Device:
    amp = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    name = torch.cuda.get_device_name(number)
    return Device(torch.device("cuda", number), f"cuda:{number} ({name}, {str(amp).removeprefix('torch.')})", amp)


def _processor() -> str:
    return platform.processor() or platform.machine()


def set_threads(threads: int) -> None:
    """Fix how many threads PyTorch uses in this process; results are bit-identical only per count.

    Raises:
        ValueError: Fewer than one.
    """
    if threads < 1:
        raise ValueError("at least one thread is needed")
    torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors leave, where the C library can be told so (GNU/Linux).

    Otherwise every batch's large tensors are handed back to the kernel and asked for again, page by page: in small
    models as much time as the arithmetic. What is kept is what the largest batch needed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # macOS and musl have none
    if mallopt is not None:
        for option, value in _KEEP.items():
            mallopt(option, value)


@contextmanager
def gpu_memory_errors() -> Iterator[None]:
    """Turn an exhausted GPU into an error that says what to change.

    Raises:
        WardroundError: WR-1603, the GPU's memory is full.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise WardroundError("WR-1603", "The GPU has too little free memory for this study.") from error
