"""Whether the bounds of a private study fit its updates: read at the virtual hospitals, which tell nobody else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from wardround.client.secagg.journal import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from wardround.simulations.job import Job

WORTH_A_WORD: Final = 0.001
"""Share of an update's values; below it clipping is what the bounds are for."""


def clipping_warnings(jobs: Iterable[Job]) -> list[str]:
    """One line for each hospital and training that clipped more of an update than :data:`WORTH_A_WORD`."""
    found = []
    for job in jobs:
        for site, home in job.training.items():
            most = max(_clipped(home / "runs" / job.run / JOURNAL), default=0.0)
            if most > WORTH_A_WORD:
                found.append(
                    f"{job.arm}, seed {job.seed}: {site} clipped up to {most:.1%} of the values of an update; "
                    "aggregation.secure.update_rms or clip_factor is too small (measure with --write-bounds)"
                )
    return found


def _clipped(journal: Path) -> Iterator[float]:
    """Share of each update that was clipped; nothing in open mode, which keeps no such lines."""
    if not journal.exists():
        return
    for line in journal.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if "clipped" in event:
            yield float(event["clipped"])
