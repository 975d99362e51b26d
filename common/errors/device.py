"""WR-16xx: processors and accelerators."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1601",
        "GPU asked for but absent",
        "A GPU was asked for by name and this process does not see it. Training would silently be many times slower "
        "on the processor, so nothing is started.",
        "Check the driver and that the container may use the GPU, or ask for 'cpu' or 'auto'.",
    ),
    ErrorPage(
        "WR-1602",
        "unknown device",
        "The name of the device is none that wardround knows.",
        "Use 'auto', 'cpu', 'cuda', or 'cuda:N' with the number of the GPU.",
    ),
    ErrorPage(
        "WR-1603",
        "GPU memory is full",
        "The batch, its activations and the model do not fit in the memory of the GPU.",
        "Lower training.batch_size or input.size, or stop other programs that use the GPU.",
    ),
)
