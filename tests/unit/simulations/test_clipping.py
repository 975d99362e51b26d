"""A private study whose bounds do not fit says so, on the machine that has all hospitals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wardround.client.secagg.journal import note
from wardround.simulations.clipping import clipping_warnings

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Trained:
    """What is read of a job."""

    training: dict[str, Path]
    arm: str = "federated"
    seed: int = 0
    run: str = "federated.seed0"


@dataclass
class Kept:
    """What is read of a home folder."""

    path: Path
    lines: list[float] = field(default_factory=list)

    def run_folder(self, run: str) -> Path:
        return self.path / "runs" / run


def job(folder: Path, **clipped: list[float]) -> Any:
    homes = {site: folder / site for site in clipped}
    for site, shares in clipped.items():
        home: Any = Kept(homes[site])
        note(home, "federated.seed0", "opened", round=1)
        for share in shares:
            note(home, "federated.seed0", "uploaded", clipped=share)
    return Trained(homes)


def test_the_largest_share_is_told_by_hospital(tmp_path: Path) -> None:
    (line,) = clipping_warnings([job(tmp_path, north=[0.2, 0.86, 0.1], coast=[0.0, 0.0005], island=[])])
    assert line.startswith("federated, seed 0: north clipped up to 86.0% of the values")
    assert "--write-bounds" in line


def test_open_trainings_have_nothing_to_tell(tmp_path: Path) -> None:
    trained: Any = Trained({"north": tmp_path / "north"})
    assert clipping_warnings([trained]) == []
