"""A hospital with drawn chests and an approved study, as an agent finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.scenarios import chest_scenario

from wardround.simulations.hospitals import build_hospitals

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.common.study import Study


def one_hospital(folder: Path, **sections: Any) -> tuple[Home, Study]:
    """A hospital, ``north``, that has approved a small open study of three."""
    scenario = chest_scenario(**sections)
    hospitals = build_hospitals(scenario, None, folder, device="cpu", threads=1, progress=lambda _: None)
    home = hospitals[scenario.study.site_ids[0]].home
    home.approve(scenario.study)
    return home, scenario.study


def change_settings(home: Home, old: str, new: str) -> None:
    """Write a hospital's settings anew with a line replaced."""
    path = home.path / "hospital.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
