"""Figures hold what was measured: every hospital with a value, and no empty place for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.run_folder import build_classification, build_segmentation, keep_one_hospital

from wardround.simulations.report.figures import confusion, matrix, overlap, rates
from wardround.simulations.report.figures.style import look
from wardround.simulations.report.load import load_run

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from matplotlib.figure import Figure

    from wardround.simulations.report.figures.style import Picture


def drawn(monkeypatch: pytest.MonkeyPatch, family: ModuleType, run: Path) -> tuple[list[Picture], list[Figure]]:
    """The family's pictures, and the figures that they were made from."""
    figures: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        figures.append(figure)
        return b""

    monkeypatch.setattr(family, "png", keep)
    with look():
        return family.draw(load_run(run)), figures


def ticks(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[-1].get_xticklabels()]


@pytest.fixture
def own_run(tmp_path: Path) -> Path:
    """What the report of ``south`` alone is made of."""
    return keep_one_hospital(build_classification(tmp_path / "own"), "south")


def test_the_rates_of_one_hospital_are_drawn_for_it_alone(monkeypatch: pytest.MonkeyPatch, own_run: Path) -> None:
    (picture,), (figure,) = drawn(monkeypatch, rates, own_run)
    assert ticks(figure) == ["south"]
    assert picture.alt.endswith("at south.")
    assert len(figure.axes[0].patches) == 2


def test_rates_of_several_keep_every_hospital_and_its_place(
    monkeypatch: pytest.MonkeyPatch, classification_run: Path
) -> None:
    (picture,), (figure,) = drawn(monkeypatch, rates, classification_run)
    assert ticks(figure) == ["north", "south", "lake", "east"]
    assert all(ax.get_xlim() == (-0.5, 3.5) for ax in figure.axes)
    assert "there is no such model or its value is undefined" in picture.caption


def test_the_decisions_of_one_hospital_are_one_panel(monkeypatch: pytest.MonkeyPatch, own_run: Path) -> None:
    (picture,), (figure,) = drawn(monkeypatch, confusion, own_run)
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == ["south"]
    assert picture.alt.endswith("at south.")


def test_the_overlap_of_one_hospital_is_one_panel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = keep_one_hospital(build_segmentation(tmp_path / "own"), "b")
    (picture,), (figure,) = drawn(monkeypatch, overlap, run)
    assert len(figure.axes) == 1
    assert picture.alt.endswith("at b.")


def test_one_hospital_is_no_matrix(monkeypatch: pytest.MonkeyPatch, own_run: Path) -> None:
    assert drawn(monkeypatch, matrix, own_run) == ([], [])


def test_the_title_over_a_matrix_is_no_part_of_a_hospital_s_name(
    monkeypatch: pytest.MonkeyPatch, classification_run: Path
) -> None:
    _, (figure,) = drawn(monkeypatch, matrix, classification_run)
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["north", "south", "lake", "east *"]
    assert ax.xaxis.label.get_text() == "Test patients of:"
    assert ax.xaxis.label.get_horizontalalignment() == "left"
