"""The tables about the run itself: data, work, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardround.simulations.report.names import FEDERATED, WITHOUT, arm_name
from wardround.simulations.report.sourced import DASH, Number, Quote, fixed, joined, pointer, whole
from wardround.simulations.report.tables import Cell, Table, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wardround.simulations.report.load import RunFolder
    from wardround.simulations.report.lookup import Lookup
    from wardround.simulations.report.sourced import Sentence

_PARTS = ("train", "validation", "test")


def data_table(run: RunFolder) -> Table | None:
    """Patients and images of each site, by part and class; None without a data report."""
    sites = [site for site in run.lookup.test_sites if site in run.data]
    if not sites:
        return None
    labels = list(dict.fromkeys(label for site in sites for label in run.data[site].get("classes", {})))
    header = ("Hospital", "Patients", "Images", *_PARTS, *labels, "Voxel size, mm", "Image size")
    rows = []
    for site in sites:
        entry = run.data[site]
        place = ("unseen",) if not entry.get("trained", True) else ()
        cells = [Cell((site,), note=place, classes="arm")]
        cells += [Cell((whole(entry[key], _data(site, key)),)) for key in ("patients", "images")]
        cells += [_pair(entry.get("parts", {}), part, _data(site, "parts", part)) for part in _PARTS]
        cells += [_pair(entry.get("classes", {}), label, _data(site, "classes", label)) for label in labels]
        cells.append(_medians(entry.get("spacing_mm"), _data(site, "spacing_mm"), places=2))
        cells.append(_medians(entry.get("shape"), _data(site, "shape"), places=0))
        rows.append(tuple(cells))
    return Table(
        "Patients, with images below them in grey, by part and by class. Voxel and image sizes are medians."
        f"{parts_of_folds(run.lookup)}",
        header,
        tuple(rows),
    )


def parts_of_folds(lookup: Lookup) -> str:
    """What to know about the parts of a run with folds, of which one can be shown."""
    if lookup.results.folds < 2:
        return ""
    return " The parts are those of the first fold; over all folds every patient is a test patient once."


def _data(*parts: str) -> str:
    return pointer("hospitals", *parts)


def _pair(entries: Mapping[str, Any], key: str, source: str) -> Cell:
    """Patients, and images below."""
    if key not in entries:
        return text(DASH, "none")
    patients, images = entries[key]
    return Cell((whole(patients, f"{source}/0"),), (whole(images, f"{source}/1"),))


def _medians(axes: list[list[float]] | None, source: str, places: int) -> Cell:
    if not axes:
        return text("not recorded", "none")
    numbers: list[Sentence] = [
        (fixed(axis[1], f"{source}/{place}/1", places=places),) for place, axis in enumerate(axes)
    ]
    return Cell(joined(numbers, " \N{MULTIPLICATION SIGN} "), classes="wide")


def work_table(lookup: Lookup) -> Table | None:
    """What each arm was given: images seen, rounds, time, bytes; None without recorded rounds."""
    rows = []
    for arm in lookup.results.arms:
        places = [place for place, row in enumerate(lookup.results.rounds) if row.arm == arm]
        if not places:
            continue
        seconds = _total(lookup, places, "seconds")
        training = _told(lookup, places, "train_seconds")
        samples = _told(lookup, places, "samples")
        sent = [_sent(lookup, arm, places, field) for field in ("bytes_up", "bytes_down")]
        rows.append((text(arm_name(arm), "arm"), samples, Cell((seconds,)), training, *sent))
    if not rows:
        return None
    return Table(
        "The work of each model, added up over its rounds, seeds and folds. Only a federation sends models to "
        f"hospitals and back.{_without_times(lookup)}",
        (
            "Model",
            "Training images seen",
            "Seconds",
            "of them training",
            "Bytes sent by hospitals",
            "Bytes sent to hospitals",
        ),
        tuple(rows),
    )


def _told(lookup: Lookup, places: list[int], field: str) -> Cell:
    """A sum over rounds; a dash for a private federation, whose hospitals tell nobody."""
    if any(getattr(lookup.results.rounds[place], field) is None for place in places):
        return text(DASH, "none")
    return Cell((_total(lookup, places, field),))


def _without_times(lookup: Lookup) -> str:
    if lookup.study.privacy is not None:
        return " Under a promise to patients no hospital tells how many images it trained on, nor how long."
    if any(row.train_seconds is None for row in lookup.results.rounds):
        return (
            " Hospitals of a private federation do not tell how many images they trained on, nor how long. Models of "
            "hospitals too few for a secure sum were trained in open mode, as the researcher's baselines."
        )
    return ""


def _sent(lookup: Lookup, arm: str, places: list[int], field: str) -> Cell:
    """Bytes on the wire; a dash for a model trained in one place, whose simulation passes through the same code."""
    if arm == FEDERATED or arm.startswith(WITHOUT):
        return Cell((_total(lookup, places, field),))
    return text(DASH, "none")


def _total(lookup: Lookup, places: list[int], field: str) -> Number:
    values = [getattr(lookup.results.rounds[place], field) for place in places]
    source = " ".join(pointer("rounds", place, field) for place in places)
    if all(isinstance(value, int) for value in values):
        return whole(sum(values), source)
    return fixed(float(sum(values)), source, places=1)


def settings_table(settings: Mapping[str, Any]) -> Table:
    """Every setting that the run recorded."""
    rows = tuple(
        (
            text(" \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ".join(path), "arm"),
            Cell((_setting(path, value),), classes="wide"),
        )
        for path, value in _leaves(settings)
    )
    return Table(
        "What the run recorded of its settings, versions and machine.", ("Setting", "Value"), rows, texts=(0, 1)
    )


def _setting(path: tuple[str, ...], value: object) -> Quote:
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Quote(words, pointer(*path, file="settings.json"))


def _leaves(settings: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def digest_table(lookup: Lookup) -> Table:
    """The digest of each site's data, of the study and of the model."""
    found = [("Study", Quote(lookup.results.study.id, pointer("study", "id")))]
    found += [(f"Data of {site}", Quote(digest, pointer("data", site))) for site, digest in lookup.results.data.items()]
    if (init := lookup.study.model.init) is not None:
        found.append(("Initial weights", Quote(init, pointer("model", "init", file="study.json"))))
    if lookup.results.model is not None:
        found.append(("Model", Quote(lookup.results.model.sha256, pointer("model", "sha256"))))
    rows = tuple((text(name, "arm"), Cell((quote,), classes="digest")) for name, quote in found)
    return Table("SHA-256 digests: the same digest means the same content.", ("What", "Digest"), rows, texts=(0, 1))
