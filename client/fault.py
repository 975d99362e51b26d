"""What goes wrong inside a hospital and is no refusal: it is written down here, and only that it happened leaves.

Flower sends the type and the text of every exception that leaves a ClientApp. Texts of exceptions hold paths,
values and names of files, so none may leave as it is.
"""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

LOG: Final = "faults.log"
"""File in the hospital's home folder, for its own people."""


class HospitalFault(Exception):  # noqa: N818 - not an error of the message, and named as people call it
    """A hospital could not answer, for a reason that stays there.

    The exception that it stands for is its ``__cause__``; Flower does not send causes.
    """

    def __init__(self) -> None:
        super().__init__(f"The hospital failed; {LOG} in its home folder says why.")


def write_fault(home: str, error: Exception) -> None:
    """Append an exception with its traceback to the hospital's log, as far as its disk allows."""
    with suppress(OSError):
        descriptor = os.open(Path(home) / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)) + "\n")
