"""Prepared arrays on disk: found again by what they are made of, checked when opened, written all or nothing.

One folder per key holds ``images.npy``, ``masks.npy`` and ``entry.json`` with the SHA-256 of each;
one JSON file per key holds what examining a data set found.
No identifier is stored, but images are images: folders are readable by their owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.lib.format import open_memmap

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from wardround.common.study import Study


Number = TypeVar("Number", np.float32, np.uint8)


@dataclass(frozen=True, slots=True)
class Arrays:
    """``images`` float32 ``[N, C, *size]`` and ``masks`` uint8 ``[N, *size]`` or None."""

    images: NDArray[np.float32]
    masks: NDArray[np.uint8] | None


def key_of(version: int, digest: str, study: Study) -> str:
    """Name of the entry: what went in, and everything of the study that shapes the arrays."""
    parts = [version, digest, study.input.model_dump(mode="json"), study.task.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def cached(
    cache_dir: Path, key: str, shape: tuple[int, ...], *, masked: bool, fill: Callable[[Arrays], None]
) -> Arrays:
    """Open the entry ``key``, or make it with ``fill``; a damaged entry is made anew.

    Args:
        cache_dir: Made if absent.
        key: Of :func:`key_of`.
        shape: Of the images.
        masked: Whether there are masks.
        fill: Writes every sample into the arrays that it is given.

    Returns:
        The arrays, memory-mapped for reading.

    Raises:
        WardroundError: WR-1122, the cache cannot be written.
    """
    entry = cache_dir / key
    found = _opened(entry, shape, masked=masked)
    if found is not None:
        return found
    try:
        _make(entry, shape, masked=masked, fill=fill)
    except OSError as error:
        raise WardroundError("WR-1122", f"Prepared images cannot be kept in the cache: {error.strerror}.") from error
    made = _opened(entry, shape, masked=masked)
    if made is None:
        raise WardroundError("WR-1122", "Prepared images were damaged while they were written to the cache.")
    return made


def recall(cache_dir: Path, key: str) -> list[Any] | None:
    """What :func:`remember` kept under ``key``; None if there is nothing or it is damaged."""
    try:
        kept = json.loads((cache_dir / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.get("sha256") != _sum_of(kept.get("findings")):
        return None
    findings: list[Any] = kept["findings"]
    return findings


def remember(cache_dir: Path, key: str, findings: list[Any]) -> None:
    """Keep findings that JSON can hold, all or nothing.

    Raises:
        WardroundError: WR-1122, the cache cannot be written.
    """
    text = json.dumps({"sha256": _sum_of(findings), "findings": findings})
    try:
        cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=cache_dir, prefix=".making-", delete=False) as file:
            file.write(text)
        Path(file.name).replace(cache_dir / f"{key}.json")
    except OSError as error:
        raise WardroundError("WR-1122", f"Findings cannot be kept in the cache: {error.strerror}.") from error


def _sum_of(findings: object) -> str:
    return hashlib.sha256(json.dumps(findings).encode()).hexdigest()


def _make(entry: Path, shape: tuple[int, ...], *, masked: bool, fill: Callable[[Arrays], None]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=entry.parent, ignore_cleanup_errors=True) as name:
        folder = Path(name) / "entry"
        folder.mkdir(mode=0o700)
        images = _new_array(folder / "images.npy", np.float32, shape)
        masks = None
        if masked:
            masks = _new_array(folder / "masks.npy", np.uint8, (shape[0], *shape[2:]))
        fill(Arrays(images, masks))
        images.flush()
        if masks is not None:
            masks.flush()
        sums = {path.name: _sum(path) for path in sorted(folder.glob("*.npy"))}
        (folder / "entry.json").write_text(json.dumps(sums), encoding="utf-8")
        _put(folder, entry)


def _new_array(path: Path, dtype: type[Number], shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Number]]:
    """A file of zeros, mapped for writing; its space is taken now: on a full disk writing to a map kills the process.

    Raises:
        OSError: The disk has no room for it.
    """
    array: np.memmap[Any, np.dtype[Number]] = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("rb+") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _put(folder: Path, entry: Path) -> None:
    """Move a finished entry into place; what was there is damaged or, made by another process, the same."""
    shutil.rmtree(entry, ignore_errors=True)
    try:
        folder.replace(entry)
    except OSError:
        if not entry.is_dir():  # otherwise another process was first, with the same content
            raise


def _opened(entry: Path, shape: tuple[int, ...], *, masked: bool) -> Arrays | None:
    """The arrays of an entry; None if there is none or it is damaged."""
    try:
        sums = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        wanted = ["images.npy", "masks.npy"] if masked else ["images.npy"]
        if not isinstance(sums, dict) or any(sums.get(name) != _sum(entry / name) for name in wanted):
            return None
        images = np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False)
        masks = np.load(entry / "masks.npy", mmap_mode="r", allow_pickle=False) if masked else None
    except (OSError, ValueError):
        return None
    return Arrays(images, masks) if images.shape == shape and images.dtype == np.float32 else None


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
