"""Manifests: every kind is read, every mistake is refused with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardround.client.data.manifest import load_manifest
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
schema = 1
name = "north"
modality = "MR"
[table]
file = "table.csv"
[patient]
column = "patient"
[[channels]]
name = "image"
column = "image"
format = "png"
"""
SEGMENTATION = (
    '[target]\nkind = "segmentation"\ncolumn = "mask"\nformat = "png"\nclasses = { "1" = "a", "2" = "b", "3" = "a" }\n'
)
BINARY = '[target]\nkind = "binary"\ncolumn = "finding"\nclasses = { "0" = "", "1" = "abnormal" }\n'
MULTICLASS = '[target]\nkind = "multiclass"\ncolumn = "finding"\nclasses = { "x" = "b", "y" = "a" }\n'
MULTILABEL = '[target]\nkind = "multilabel"\nfindings = { "a" = "A", "b" = "B" }\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "manifest.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("target", "labels", "columns"),
    [
        (SEGMENTATION, ("a", "b"), ("patient", "image", "mask")),
        (BINARY, ("abnormal",), ("patient", "image", "finding")),
        (MULTICLASS, ("b", "a"), ("patient", "image", "finding")),
        (MULTILABEL, ("a", "b"), ("patient", "image", "A", "B")),
    ],
)
def test_every_kind_of_target(tmp_path: Path, target: str, labels: tuple[str, ...], columns: tuple[str, ...]) -> None:
    manifest = load_manifest(write(tmp_path, HEAD + target))
    assert manifest.target.labels == labels
    assert manifest.columns == columns
    assert manifest.dimensions == 2


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('file = "table.csv"', 'file = "table.csv"\nfiel = "x"', "table.fiel"),
        ('name = "north"', 'name = "North Hospital"', "name"),
        ('modality = "MR"', 'modality = "XY"', "modality"),
        ('modality = "MR"', "", "modality"),
        ('file = "table.csv"', 'file = "table.xlsx"', ".csv or .parquet"),
        ('column = "image"', 'column = ""', "channels.0.column"),
        ('[target]\nkind = "segmentation"', '[target]\nkind = "detection"', "target"),
        ('"1" = "a"', '"1.5" = "a"', "classes"),
        ('"1" = "a"', '"0" = "a"', "background"),
        ('"1" = "a", "2" = "b", "3" = "a"', '"1" = ""', "names no label"),
        ('format = "png"\nclasses', 'format = "nifti"\nclasses', "share one format"),
        ("[target]", '[[channels]]\nname = "image"\ncolumn = "second"\nformat = "png"\n[target]', "twice"),
        ("[target]", "[spacing]\nmm = [1, 1]\ncolumn = 'mm'\n[target]", "either"),
        ("[target]", "[spacing]\nmm = [0, 1]\n[target]", "spacing.mm"),
        ("[target]", '[[tabular]]\nname = "sex"\ncolumn = "s"\ntype = "category"\n[target]', "categories"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = HEAD + SEGMENTATION
    assert before in text
    load_manifest(write(tmp_path, text))
    with pytest.raises(WardroundError) as refused:
        load_manifest(write(tmp_path, text.replace(before, after)))
    assert refused.value.code == "WR-1102"
    assert said in refused.value.what


@pytest.mark.parametrize(
    ("target", "before", "after", "said"),
    [
        (BINARY, '"0" = ""', '"0" = "normal"', "exactly one label"),
        (MULTICLASS, '"y" = "a"', '"y" = ""', "needs a name"),
        (MULTILABEL, '"b" = "B"', '"b" = "A"', "share a column"),
        (MULTILABEL, "\nfindings", '\npositive = ["0"]\nfindings', "both positive and negative"),
    ],
)
def test_classes_fit_the_kind(tmp_path: Path, target: str, before: str, after: str, said: str) -> None:
    assert before in target
    load_manifest(write(tmp_path, HEAD + target))
    with pytest.raises(WardroundError, match=said):
        load_manifest(write(tmp_path, HEAD + target.replace(before, after)))


def test_spacing_is_only_for_formats_without_it(tmp_path: Path) -> None:
    text = HEAD + SEGMENTATION + "[spacing]\nmm = [1, 1]\n"
    assert load_manifest(write(tmp_path, text)).spacing is not None
    with pytest.raises(WardroundError, match="carry their own"):
        load_manifest(write(tmp_path, text.replace('"png"', '"nifti"')))


@pytest.mark.parametrize("data", [b"schema = ", b"\xff\xfe", None])
def test_unreadable(tmp_path: Path, data: bytes | None) -> None:
    path = write(tmp_path, HEAD + BINARY)
    load_manifest(path)
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    with pytest.raises(WardroundError) as refused:
        load_manifest(path)
    assert refused.value.code == "WR-1101"
