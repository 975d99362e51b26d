"""The hospital's registered data sets: ``[[data]]`` in ``hospital.toml``, each under a name.

A data set is examined whole before it is registered. Its manifest says what is a patient and what a finding, so one
that was changed since is not used until it is registered again; rows and images may come and go, and the privacy
ledger counts by patient, whatever the data set is called.

The file is edited as text, so that comments of the hospital's people stay.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from wardround.client.home import SETTINGS, HospitalSettings, RegisteredData, data_lines, registered, write_atomically
from wardround.common.errors import WardroundError
from wardround.common.study import parse_toml, validated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardround.client.data.samples import DataSet
    from wardround.client.home import Home

_HEADER: Final = "[[data]]"
_BY_HAND: Final = f"Edit the [[data]] tables of {SETTINGS} by hand."


def register(
    home: Home,
    manifest: Path,
    *,
    root: Path | None = None,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[RegisteredData, DataSet]:
    """Examine a data set and register it; one of the same name and place is registered anew.

    Args:
        home: The hospital's home; it is not changed if anything is refused.
        manifest: The manifest (TOML).
        root: Folder that the manifest's paths are relative to; None: the manifest's own.
        name: What to call it; None: as the manifest does.
        progress: Told (images done, images in all).

    Returns:
        What was registered, and the data set.

    Raises:
        WardroundError: WR-11xx, the data cannot be used; WR-1920, another manifest has the name; WR-1305, the settings
            cannot be edited, or a path cannot be written into them.
    """
    from wardround.client.data.samples import load_data_set

    path = manifest.resolve()
    before = sha256_of(path) if path.is_file() else None  # load_data_set says what is wrong with one that is missing
    data = load_data_set(path, None, root=root, cache_dir=home.path / "cache", work_dir=home.path, progress=progress)
    called = name or data.manifest.name
    fields = {
        "manifest": path,
        "root": None if root is None else root.resolve(),
        "name": called,
        "manifest_sha256": before,
        "digest": data.digest,
        "patients": len(set(data.patients)),
        "images": len(data.samples),
    }
    item = validated(RegisteredData, fields, "WR-1920", f"the name {called!r}")
    known = next((other for other in home.settings.data if other.name == called), None)
    if known is not None and known.manifest != path:
        raise WardroundError("WR-1920", f"The name {called!r} is taken by another manifest.")
    check_unchanged(item)  # nobody wrote to it while its images were read
    others = [other for other in home.settings.data if other.name != called]
    block = "\n".join(["", *data_lines(item), ""])
    _write(home, _without(_text(home), home.settings, called).rstrip("\n") + "\n" + block, [*others, item])
    return item, data


def unregister(home: Home, name: str) -> None:
    """Forget a data set; its files are left alone, and so is the ledger.

    Raises:
        WardroundError: WR-1920, there is none of this name; WR-1305, the settings cannot be edited.
    """
    if name not in {item.name for item in home.settings.data}:
        raise WardroundError("WR-1920", f"No data set {name!r} is registered at {home.site}.")
    others = [item for item in home.settings.data if item.name != name]
    _write(home, _without(_text(home), home.settings, name), others)


def choose_data(settings: HospitalSettings, names: Sequence[str]) -> tuple[RegisteredData, ...]:
    """The data sets that a study is to use.

    Args:
        settings: Of the hospital.
        names: As people chose; none: the only one.

    Raises:
        WardroundError: WR-1920, there is none, none of such a name, or more than one to choose from.
    """
    found = registered(settings, names)
    if names or len(found) == 1:
        return found
    listed = ", ".join(item.name or "one without a name" for item in found)
    fix = "Say which one the study may use: --data NAME, more than once for several."
    raise WardroundError("WR-1920", f"{settings.site} has {len(found)} data sets: {listed}.", fix=fix)


def check_unchanged(item: RegisteredData) -> None:
    """Refuse a data set whose manifest was changed since it was registered.

    Raises:
        WardroundError: WR-1920.
    """
    if item.manifest_sha256 is None:
        return
    try:
        found = sha256_of(item.manifest)
    except OSError as error:
        reason = type(error).__name__
        raise WardroundError("WR-1920", f"The manifest of {item.name!r} cannot be read ({reason}).") from error
    if found != item.manifest_sha256:
        what = f"The manifest of {item.name!r} was changed since it was registered."
        fix = f"If the change is meant: wardround hospital data add MANIFEST.toml --name {item.name}"
        raise WardroundError("WR-1920", what, fix=fix)


def sha256_of(path: Path) -> str:
    """Of a file's content, 64 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text(home: Home) -> str:
    return (home.path / SETTINGS).read_text(encoding="utf-8")


def _without(text: str, settings: HospitalSettings, name: str) -> str:
    """The settings without the table of a data set; as they are where there is none of this name."""
    place = next((number for number, item in enumerate(settings.data) if item.name == name), None)
    if place is None:
        return text
    kept, number = [], -1
    inside = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            number += _begins(line)
            inside = bool(_begins(line)) and number == place
        if not inside:
            kept.append(line)
    return "".join(kept)


def _begins(line: str) -> int:
    """1 for the line that begins a data set's table, else 0."""
    return int(line.partition("#")[0].strip() == _HEADER)


def _write(home: Home, text: str, expected: list[RegisteredData]) -> None:
    """Write the settings if they say exactly what is meant."""
    try:
        found = validated(HospitalSettings, parse_toml(text), "WR-1305", SETTINGS)
    except WardroundError as error:
        raise WardroundError("WR-1305", f"{SETTINGS} cannot be edited: {error.what}", fix=_BY_HAND) from error
    if found != home.settings.model_copy(update={"data": tuple(expected)}):
        raise WardroundError("WR-1305", f"{SETTINGS} has a form that cannot be edited here.", fix=_BY_HAND)
    mode = (home.path / SETTINGS).stat().st_mode & 0o777
    write_atomically(home.path / SETTINGS, text.encode(), mode=mode)
