"""Read a run folder: everything a report is made of, checked, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from pydantic import BaseModel, ValidationError

from wardround.client.statement.statement import Statement
from wardround.common.errors import WardroundError
from wardround.common.study import Study
from wardround.simulations.attacks.leakage.results import LeakageReport, read_leakage
from wardround.simulations.privacy.write import STATEMENT
from wardround.simulations.report.lookup import Lookup
from wardround.simulations.results import Results

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

M = TypeVar("M", bound=BaseModel)

_TEXT_COLUMNS = ("arm", "test_site", "patient", "sample", "label")
_NUMBER_COLUMNS = ("seed", "fold", "truth", "score", "predicted", "dice")


@dataclass(frozen=True)
class Example:
    """One case to look at.

    Attributes:
        name: File name without its ending.
        site: Whose case.
        patient: Pseudonymous patient key.
        dice: Mean Dice over labels; None for classification or when undefined.
        image: ``[*spatial]`` float32, RAS-oriented voxel axes in 3D, rows and columns in 2D.
        truth: ``[*spatial]`` uint8 class indices; None for classification.
        prediction: ``[*spatial]`` uint8 class indices; None for classification.
        score: Predicted probability of the label, classification only.
        target: True label as the run wrote it, classification only.
    """

    name: str
    site: str
    patient: str
    dice: float | None
    image: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint8] | None
    prediction: npt.NDArray[np.uint8] | None
    score: float | None
    target: float | None


@dataclass(frozen=True)
class RunFolder:
    """A run as read from its folder.

    Attributes:
        study: The study that was run.
        settings: Versions, threads, seeds, device.
        results: ``results.json``.
        cases: ``cases.csv``; a column without a value in it may be missing.
        examples: Cases to look at, by file name.
        statement: The privacy statement; None where the study promises nothing.
        leakage: What attacks on the promise found; None where none was tried.
        lookup: Results and study, with questions about them.
    """

    study: Study
    settings: Mapping[str, Any]
    results: Results
    cases: pd.DataFrame
    examples: tuple[Example, ...]
    statement: Statement | None = None
    leakage: LeakageReport | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """The data report of each site; empty when the run has none."""
        return self.results.hospitals

    @property
    def lookup(self) -> Lookup:
        """Results and study, with questions about them."""
        return Lookup(self.results, self.study)


def load_run(run: Path) -> RunFolder:
    """Read and check a run folder.

    Raises:
        WardroundError: WR-1550, a file that every finished run has is missing; WR-1551 or WR-1502, a
            file does not hold what its name says.
    """
    return RunFolder(
        study=_checked(Study, run / "study.json"),
        settings=_json(run / "settings.json"),
        results=load_results(run),
        cases=_cases(run / "cases.csv"),
        examples=tuple(_example(path) for path in sorted((run / "examples").glob("*.npz"))),
        statement=_checked(Statement, run / STATEMENT) if (run / STATEMENT).exists() else None,
        leakage=read_leakage(run),
    )


def load_results(run: Path) -> Results:
    """Read ``results.json`` of a run folder.

    Raises:
        WardroundError: WR-1550 or WR-1551, as for :func:`load_run`.
    """
    return _checked(Results, run / "results.json")


def load_lookup(run: Path) -> Lookup:
    """Read results and study of a run folder, and no more.

    Raises:
        WardroundError: WR-1550 or WR-1551, as for :func:`load_run`.
    """
    return Lookup(load_results(run), _checked(Study, run / "study.json"))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WardroundError("WR-1550", f"{path.name} is missing in {path.parent} or cannot be read.") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_bytes(path))
    except ValueError as error:
        raise _damaged(path, "it is not valid JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, "it is not a JSON object")
    return content


def _checked(model: type[M], path: Path) -> M:
    try:
        return model.model_validate_json(_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{place}: {first['msg']}") from None


def _cases(path: Path) -> pd.DataFrame:
    _bytes(path)
    types = dict.fromkeys(_TEXT_COLUMNS, "string")
    try:
        cases = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
        cases = cases.assign(**{name: pd.to_numeric(cases[name]) for name in _NUMBER_COLUMNS if name in cases})
    except ValueError as error:
        raise _damaged(path, "a column does not hold numbers, or it is not a table") from error
    missing = [name for name in _TEXT_COLUMNS if name not in cases]
    if missing:
        raise _damaged(path, f"it has no column {missing[0]}")
    return cases.astype(dict.fromkeys(_TEXT_COLUMNS, "object"))


def _example(path: Path) -> Example:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            parts = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise _damaged(path, "it is not a NumPy archive") from error
    if "image" not in parts or "site" not in parts:
        raise _damaged(path, "it has no image or no site")
    image = np.asarray(parts["image"], dtype=np.float32)
    masks = {
        name: parts[name].astype(np.uint8) for name in ("truth", "prediction") if name in parts and parts[name].ndim > 0
    }
    if any(mask.shape != image.shape for mask in masks.values()):
        raise _damaged(path, "a mask and the image have different shapes")
    return Example(
        name=path.stem,
        site=str(parts["site"]),
        patient=str(parts.get("patient", "")),
        dice=_scalar(parts.get("dice")),
        image=image,
        truth=masks.get("truth"),
        prediction=masks.get("prediction"),
        score=_scalar(parts.get("score")),
        target=None if "truth" in masks else _scalar(parts.get("truth")),
    )


def _scalar(value: npt.NDArray[Any] | None) -> float | None:
    if value is None or value.size != 1:
        return None
    number = float(value.reshape(()))
    return number if np.isfinite(number) else None


def _damaged(path: Path, why: str) -> WardroundError:
    return WardroundError("WR-1551", f"{path.name} in {path.parent} is not as a run writes it: {why}.")
