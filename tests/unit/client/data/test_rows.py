"""Targets of every kind, in the order of the study's labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wardround.client.data.manifest import Manifest
from wardround.client.data.rows import Sample, parse_row
from wardround.client.data.table import Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MULTICLASS = {"kind": "multiclass", "column": "a", "classes": {"0": "naevus", "1": "melanoma", "I": "melanoma"}}
MULTILABEL = {
    "kind": "multilabel",
    "findings": {"effusion": "a", "mass": "b"},
    "positive": ["1", "yes"],
    "negative": ["0"],
}


def targets(
    folder: Path, target: dict[str, Any], labels: Sequence[str], a: str, b: str = "0", *, patient: str = "p"
) -> Any:
    fields = {
        "schema": 1,
        "name": "north",
        "modality": "XC",
        "table": {"file": "table.csv"},
        "patient": {"column": "patient"},
        "channels": [{"name": "image", "column": "image", "format": "png"}],
        "target": target,
    }
    row = Row(5, {"patient": patient, "image": "x.png", "a": a, "b": b})
    parsed = parse_row(row, Manifest.model_validate(fields), labels, folder.resolve(), folder.resolve())
    return parsed.targets if isinstance(parsed, Sample) else [(one.row, one.column, one.code) for one in parsed]


@pytest.mark.parametrize(("value", "expected"), [("0", (0, 1)), ("1", (1, 0)), ("I", (1, 0))])
def test_multiclass_is_one_hot(tmp_path: Path, value: str, expected: tuple[int, int]) -> None:
    assert targets(tmp_path, MULTICLASS, ("melanoma", "naevus"), value) == expected


@pytest.mark.parametrize("value", ["2", "", "1.0", " 1"])
def test_multiclass_outside(tmp_path: Path, value: str) -> None:
    assert targets(tmp_path, MULTICLASS, ("melanoma", "naevus"), value) == [(5, "a", "WR-1110")]


def test_multilabel_counts_each_label_by_itself(tmp_path: Path) -> None:
    assert targets(tmp_path, MULTILABEL, ("mass", "effusion"), "yes", "0") == (0, 1)
    assert targets(tmp_path, MULTILABEL, ("mass", "effusion"), "1", "1") == (1, 1)
    assert targets(tmp_path, MULTILABEL, ("mass", "effusion"), "", "no") == [(5, "b", "WR-1110"), (5, "a", "WR-1110")]


def test_findings_that_the_study_does_not_ask_for_are_not_read(tmp_path: Path) -> None:
    assert targets(tmp_path, MULTILABEL, ("mass",), "unreadable", "1") == (1,)


@pytest.mark.parametrize("patient", ["12", "M\u00fcller", "\u5c71\u7530\u3000\u592a\u90ce", "a b"])
def test_identifiers_in_any_script_are_taken(tmp_path: Path, patient: str) -> None:
    assert targets(tmp_path, MULTICLASS, ("melanoma", "naevus"), "0", patient=patient) == (0, 1)


@pytest.mark.parametrize("patient", ["", " 12", "12\u3000", "Mu\u0308ller", "12\u200b", "1\x002", "1\n2"])
def test_identifiers_that_look_like_another_are_refused(tmp_path: Path, patient: str) -> None:
    """Two spellings of one person would be two patients, and could be in training and test at once."""
    found = targets(tmp_path, MULTICLASS, ("melanoma", "naevus"), "0", patient=patient)
    assert found == [(5, "patient", "WR-1115")]
