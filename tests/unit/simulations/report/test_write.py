"""The report as files: complete, self-contained, the same every time; damaged folders are refused."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.run_folder import build_segmentation, classification_study, segmentation_study

from wardround.common.errors import WardroundError
from wardround.simulations.report.figures.style import canvas, look, png
from wardround.simulations.report.load import load_run
from wardround.simulations.report.page import page
from wardround.simulations.report.write import draw_figures, write_report

if TYPE_CHECKING:
    from pathlib import Path

CLASSIFICATION_FIGURES = {"matrix", "rates", "partition", "rounds", "roc", "calibration", "confusion", "histograms"}
SEGMENTATION_FIGURES = {"matrix", "dice", "partition", "rounds", "histograms", "examples"}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def copy(segmentation_run: Path, tmp_path: Path) -> Path:
    """A run folder to damage."""
    return shutil.copytree(segmentation_run, tmp_path / "copy")


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("classification_run", CLASSIFICATION_FIGURES),
        ("segmentation_run", SEGMENTATION_FIGURES),
        ("left_out_run", SEGMENTATION_FIGURES),
    ],
)
def test_every_figure_is_a_file_and_in_the_page(name: str, figures: set[str], request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(name)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert {path.stem for path in (run / "figures").glob("*.png")} == figures
    assert all(path.read_bytes().startswith(PNG) for path in (run / "figures").glob("*.png"))
    assert set(re.findall(r'id="figure-(\w+)"', html)) == figures
    alternatives = re.findall(r'<img [^>]*alt="([^"]*)"', html)
    assert len(alternatives) == len(figures)
    assert all(len(text) > 20 for text in alternatives)


def test_page_needs_nothing_from_outside(classification_run: Path) -> None:
    html = (classification_run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<link" not in html
    assert not re.findall(r"https?://", html)
    assert "@import" not in html
    assert all(found.startswith(("data:", "#")) for found in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert all(found.startswith("data:") for found in re.findall(r"url\(([^)]*)\)", html))


def test_same_folder_gives_the_same_bytes_and_nothing_else(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    write_report(copy)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_text_of_a_study_is_not_markup(tmp_path: Path) -> None:
    study = segmentation_study(title="<b>Bold</b> & more", claim="<script>alert()</script>")
    html = page(load_run(build_segmentation(tmp_path / "run", study=study)), [])
    assert "<script" not in html
    assert "&lt;b&gt;Bold&lt;/b&gt; &amp; more" in html


def test_answer_limits_and_privacy_are_in_the_page(classification_run: Path) -> None:
    html = (classification_run / "report.html").read_text(encoding="utf-8")
    assert (
        html.index(">The answer<") < html.index("<h2>Evidence") < html.index("<h2>Comparisons") < html.index("<h2>Sett")
    )
    assert classification_study().limits in html
    assert "This run used no differential privacy; epsilon is unlimited" in html
    assert "lake: no images without abnormal" in html


def test_spent_epsilon_is_said_and_not_called_unlimited(copy: Path) -> None:
    results = json.loads((copy / "results.json").read_text(encoding="utf-8"))
    for row in results["privacy"]:
        row |= {"epsilon": 7.5, "delta": 1e-5}
    (copy / "results.json").write_text(json.dumps(results), encoding="utf-8")
    html = page(load_run(copy), [])
    assert "patient-level differential privacy with epsilon" in html
    assert "unlimited" not in html


def test_chinese_labels_are_drawn_with_a_font_that_has_them(tmp_path: Path) -> None:
    task = {"kind": "segmentation", "labels": ["海马前部", "海马后部"], "dimensions": 3}
    run = build_segmentation(tmp_path / "run", study=segmentation_study(title="三家医院的海马分割", task=task))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        html = write_report(run).read_text(encoding="utf-8")
    assert "三家医院的海马分割" in html
    assert "@font-face" in html


def test_a_letter_that_no_font_has_is_noticed() -> None:
    """Positive control of the test above: matplotlib does warn when a glyph is missing."""
    with look(), pytest.warns(UserWarning, match="missing from font"):
        _title("\U000131a0")


def _title(text: str) -> bytes:
    figure, (ax,) = canvas(2.0)
    ax.set_title(text)
    return png(figure)


@pytest.mark.parametrize("name", ["study.json", "settings.json", "results.json", "cases.csv"])
def test_missing_file_is_refused(copy: Path, name: str) -> None:
    load_run(copy)
    (copy / name).unlink()
    with pytest.raises(WardroundError, match="WR-1550") as refused:
        load_run(copy)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", b"{"),
        ("results.json", b"[]"),
        ("results.json", b'{"schema": 1}'),
        ("study.json", b'{"schema": 2}'),
        ("settings.json", b"[1]"),
        ("cases.csv", b"arm,seed\nfederated,0\n"),
        ("cases.csv", b""),
        ("examples/a-best.npz", b"nonsense"),
    ],
)
def test_damaged_file_is_refused(copy: Path, name: str, content: bytes) -> None:
    load_run(copy)
    (copy / name).write_bytes(content)
    with pytest.raises(WardroundError, match="WR-1551"):
        load_run(copy)


def test_example_whose_mask_does_not_fit_is_refused(copy: Path) -> None:
    path = copy / "examples" / "a-best.npz"
    parts = dict(np.load(path))
    np.savez(path, **parts)
    load_run(copy)
    np.savez(path, **(parts | {"truth": parts["truth"][1:]}))
    with pytest.raises(WardroundError, match="WR-1551"):
        load_run(copy)


def test_folder_without_data_report_and_examples_still_gives_a_report(copy: Path) -> None:
    results = json.loads((copy / "results.json").read_text())
    (copy / "results.json").write_text(json.dumps(results | {"hospitals": {}}))
    shutil.rmtree(copy / "examples")
    assert {picture.name for picture in draw_figures(load_run(copy))} == {"matrix", "dice", "rounds"}


def test_classification_examples_are_shown_with_truth_and_score(classification_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(classification_run, tmp_path / "run")
    (run / "examples").mkdir()
    image = np.random.default_rng(0).random((40, 30), dtype=np.float32)
    np.savez(run / "examples" / "north-best.npz", image=image, site="north", patient="k", score=0.93, truth=1.0)
    example = load_run(run).examples[0]
    assert (example.score, example.target, example.truth) == (0.93, 1.0, None)
    assert "examples" in {picture.name for picture in draw_figures(load_run(run))}
