"""Tables: text as written, row numbers as a person counts them, nothing filled or cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wardround.client.data.manifest import Manifest
from wardround.client.data.table import read_rows
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

CSV = 'patient,image,finding,site\n007,a.png,1,x\n"Doe, ""J""",b.png,0,y\nNA,c.png,1,x\n'


def manifest(file: str = "table.csv", **table: object) -> Manifest:
    return Manifest.model_validate(
        {
            "schema": 1,
            "name": "north",
            "modality": "DX",
            "table": {"file": file, **table},
            "patient": {"column": "patient"},
            "channels": [{"name": "image", "column": "image", "format": "png"}],
            "target": {"kind": "binary", "column": "finding", "classes": {"0": "", "1": "abnormal"}},
        }
    )


def put(tmp_path: Path, text: str | bytes, name: str = "table.csv") -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def refused(tmp_path: Path, declared: Manifest) -> str:
    with pytest.raises(WardroundError) as caught:
        read_rows(declared, tmp_path)
    return caught.value.code


def test_values_are_text_and_rows_are_counted_from_the_header(tmp_path: Path) -> None:
    put(tmp_path, CSV)
    rows, folder = read_rows(manifest(), tmp_path)
    assert [row.number for row in rows] == [2, 3, 4]
    assert [row.values["patient"] for row in rows] == ["007", 'Doe, "J"', "NA"]
    assert folder == tmp_path.resolve()


@pytest.mark.parametrize(
    ("text", "separator"),
    [(CSV.replace("\n", "\r\n").encode("utf-8-sig"), ","), (b"patient;image;finding;site\n007;a.png;1;x\n", ";")],
)
def test_spreadsheet_dialects(tmp_path: Path, text: bytes, separator: str) -> None:
    put(tmp_path, text)
    rows, _ = read_rows(manifest(separator=separator), tmp_path)
    assert rows[0].values == {"patient": "007", "image": "a.png", "finding": "1", "site": "x"}


def test_parquet_gives_what_the_csv_gives(tmp_path: Path) -> None:
    put(tmp_path, CSV)
    columns = {"patient": ["007", 'Doe, "J"', "NA"], "image": ["a.png", "b.png", "c.png"], "site": ["x", "y", "x"]}
    expected, _ = read_rows(manifest(), tmp_path)
    for name, findings in (("whole", [1, 0, 1]), ("float", [1.0, 0.0, 1.0]), ("truth", [True, False, True])):
        pq.write_table(pa.table({**columns, "finding": findings}), tmp_path / f"{name}.parquet")
        assert read_rows(manifest(f"{name}.parquet"), tmp_path)[0] == expected
    pq.write_table(pa.table({**columns, "finding": [None, 0, 0.5]}), tmp_path / "odd.parquet")
    odd, _ = read_rows(manifest("odd.parquet"), tmp_path)
    assert [row.values["finding"] for row in odd] == ["", "0", "0.5"]


@pytest.mark.parametrize(
    ("where", "numbers"), [({"site": "x"}, [2, 4]), ({"site": ["x", "y"], "finding": "1"}, [2, 4])]
)
def test_where_keeps_row_numbers(tmp_path: Path, where: dict[str, object], numbers: list[int]) -> None:
    put(tmp_path, CSV)
    rows, _ = read_rows(manifest(where=where), tmp_path)
    assert [row.number for row in rows] == numbers


def test_images_root(tmp_path: Path) -> None:
    put(tmp_path, CSV)
    (tmp_path / "pictures").mkdir()
    assert read_rows(manifest(images_root="pictures"), tmp_path)[1] == (tmp_path / "pictures").resolve()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (CSV + "too,few,1\n", "WR-1103"),
        (CSV + "too,many,1,x,y\n", "WR-1103"),
        (CSV + "\n", "WR-1103"),
        (CSV + '"open,a.png,1,x\n', "WR-1103"),
        (CSV.replace("site", "finding"), "WR-1103"),
        (CSV.encode() + b"\xe4,d.png,1,x\n", "WR-1103"),
        (CSV.replace("finding", "Finding"), "WR-1104"),
        ("patient,image,finding,site\n", "WR-1105"),
        ("", "WR-1105"),
    ],
)
def test_refused(tmp_path: Path, text: str | bytes, code: str) -> None:
    put(tmp_path, CSV)
    read_rows(manifest(), tmp_path)
    put(tmp_path, text)
    assert refused(tmp_path, manifest()) == code


def test_another_separator_is_named_without_repeating_the_header(tmp_path: Path) -> None:
    put(tmp_path, "patient;image;finding;site\n007;a.png;1;x\n")
    read_rows(manifest(separator=";"), tmp_path)
    with pytest.raises(WardroundError, match="single column, in which ';' separates") as caught:
        read_rows(manifest(), tmp_path)
    assert caught.value.code == "WR-1104"
    assert "site" not in caught.value.what
    put(tmp_path, CSV.replace("finding", "Finding"))
    with pytest.raises(WardroundError, match="no column 'finding'") as caught:
        read_rows(manifest(), tmp_path)
    assert "single column" not in caught.value.what


def test_refused_by_where_and_file(tmp_path: Path) -> None:
    put(tmp_path, CSV)
    put(tmp_path, CSV, "fake.parquet")
    assert refused(tmp_path, manifest(where={"site": "z"})) == "WR-1105"
    assert refused(tmp_path, manifest(where={"place": "x"})) == "WR-1104"
    assert refused(tmp_path, manifest("fake.parquet")) == "WR-1103"
    assert refused(tmp_path, manifest("absent.csv")) == "WR-1103"


def test_tables_outside_the_data_folder_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    put(tmp_path, CSV)
    put(root, CSV)
    (root / "link.csv").symlink_to(tmp_path / "table.csv")
    (root / "fine.csv").symlink_to(root / "table.csv")
    assert len(read_rows(manifest("fine.csv"), root)[0]) == 3
    for name in ("../table.csv", str(tmp_path / "table.csv"), "link.csv"):
        assert refused(root, manifest(name)) == "WR-1103"
    assert refused(root, manifest(images_root="..")) == "WR-1103"
