"""Where updates wait for their turn in a sum: the first ones in memory, the others in a file without a name.

So memory does not grow with the sites, in whichever order they answer. What waits is plain, as it is in memory; the
file is the coordinator's own and is gone with the process.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from wardround.common.ids import SiteId
    from wardround.common.vector import Vector

KEPT: Final = 2
"""Updates in memory."""


class Shelf:
    """Updates of one size by site.

    Args:
        folder: Where the file lies; None: all is kept in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: FileIO | None = None
        self._kept: dict[SiteId, Vector] = {}
        self._places: dict[SiteId, int] = {}

    def put(self, site: SiteId, update: Vector) -> None:
        """Keep an update of shape ``[P]``; where the disk is full, in memory."""
        if self._folder is None or len(self._kept) < KEPT or not self._written(site, update):
            self._kept[site] = update

    def take(self, site: SiteId) -> Vector:
        """The update of a site, which is kept no longer."""
        place = self._places.pop(site, None)
        if place is None or self._file is None:
            return self._kept.pop(site)
        self._file.seek(place * self._bytes)
        return np.frombuffer(self._file.read(self._bytes), dtype="<f4")

    def clear(self) -> None:
        """Keep nothing of a round that has ended."""
        self._kept.clear()
        self._places.clear()

    def _written(self, site: SiteId, update: Vector) -> bool:
        content = update.astype("<f4", copy=False)
        taken = set(self._places.values())
        place = next(number for number in range(len(taken) + 1) if number not in taken)
        try:
            if self._file is None:
                opened = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - it ends with the shelf
                self._file, self._bytes = opened, content.nbytes
            self._file.seek(place * self._bytes)
            if self._file.write(content.data) < self._bytes:
                return False
        except OSError:
            return False
        self._places[site] = place
        return True
