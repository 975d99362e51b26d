"""The file of initial weights of a simulation: found once, kept in the run folder, put into every virtual home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.client.home import write_atomically
from wardround.common import weights
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.common.study import Study


def find_weights(study: Study, run: Path, *, init: Path | None = None, data_root: Path | None = None) -> bytes | None:
    """The file that the study names, kept in the run folder from then on; None where it names none.

    Args:
        study: The study.
        run: The run folder.
        init: The file; None: that of the run folder, or of the folder ``models`` of the data.
        data_root: Folder with the data.

    Raises:
        WardroundError: WR-1208, it is nowhere, or has another hash.
    """
    digest = study.model.init
    if digest is None:
        if init is not None:
            raise WardroundError("WR-1208", "The study names no initial weights: model.init is not set.")
        return None
    kept = run_weights(run) / weights.file_name(digest)
    places = [init] if init is not None else [kept]
    if init is None and data_root is not None:
        places.append(data_root / weights.FOLDER / kept.name)
    content = weights.verified(_first(places, digest), digest)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, content)
    return content


def run_weights(run: Path) -> Path:
    """The folder of a run that holds the file."""
    return run / weights.FOLDER


def give_weights(study: Study, run: Path, homes: Iterable[Home], *, data_root: Path | None = None) -> None:
    """Put the study's file into the homes of virtual hospitals, as a person would at a real one.

    Raises:
        WardroundError: WR-1208, it is nowhere, or has another hash.
    """
    content = find_weights(study, run, data_root=data_root)
    if content is not None:
        for home in homes:
            home.keep_weights(content)


def _first(places: Iterable[Path], digest: str) -> bytes:
    for place in places:
        try:
            return place.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise weights.unreadable(digest, "one of the places", error) from error
    raise weights.missing(digest, "Neither --init nor the run folder nor the data folder")
