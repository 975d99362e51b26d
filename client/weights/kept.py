"""Files of weights in a hospital's home: which there are, and taking one away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wardround.common import weights
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.home import Home

SHORTEST: Final = 8
"""Digits of a SHA-256 that name a file here."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")


def kept_weights(home: Home) -> tuple[str, ...]:
    """SHA-256 of every file of weights here, as their names say."""
    paths = (home.path / weights.FOLDER).glob(weights.file_name("*"))
    return tuple(sorted(path.stem for path in paths if _HASH.fullmatch(path.stem)))


def find_weights(home: Home, text: str) -> str:
    """The SHA-256 that begins with these digits.

    Raises:
        WardroundError: WR-1208, none or several do, or there are too few digits.
    """
    digits = text.strip().lower()
    found = [digest for digest in kept_weights(home) if len(digits) >= SHORTEST and digest.startswith(digits)]
    if len(found) == 1:
        return found[0]
    what = f"{'Several files' if found else 'No file'} of weights here begin with these digits, of {SHORTEST} or more."
    raise WardroundError("WR-1208", what, fix="wardround hospital weights list shows what is kept here.")


def forget_weights(home: Home, digest: str) -> None:
    """Take a file away.

    Raises:
        WardroundError: WR-1208, it cannot be removed.
    """
    path = home.path / weights.FOLDER / weights.file_name(digest)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise weights.unreadable(digest, f"the home of {home.site}", error) from error
