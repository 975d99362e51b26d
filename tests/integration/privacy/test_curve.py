"""A whole curve on drawn chests: every point is trained, hospitals are built once, finished trainings are kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.promised_runs import promised_scenario

from wardround.common.errors import WardroundError
from wardround.simulations.experiment import new_request
from wardround.simulations.job import DONE
from wardround.simulations.privacy.curve import curve_request, draw_curve
from wardround.simulations.privacy.curves import Curves

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.privacy.curve import CurveRequest
    from wardround.simulations.privacy.points import Epsilon


def request_of(epsilons: tuple[Epsilon, ...] = (8.0,)) -> CurveRequest:
    scenario = promised_scenario(3, rounds=2, epsilon=2.0, rate=0.5, patients=40)
    return curve_request(new_request(scenario, seeds=1, device="cpu"), epsilons, ("distributed", "local"))


def test_a_curve_is_trained_written_and_taken_up_again(tmp_path: Path) -> None:
    folder = tmp_path / "curve"
    curves = draw_curve(request_of(), folder)
    names = ["distributed-8", "local-8", "no-promise"]
    assert [point.point for point in curves.points] == names
    assert sorted(path.name for path in (folder / "jobs").iterdir()) == [f"{name}.seed0" for name in names]
    assert Curves.model_validate_json((folder / "curves.json").read_bytes()) == curves
    assert (folder / "figures" / "curve.png").read_bytes().startswith(b"\x89PNG")
    for point in curves.points:
        card = json.loads((folder / "jobs" / f"{point.point}.seed0" / "model" / "card.json").read_text())
        assert card["study"] == point.study

    done = {name: (folder / "jobs" / f"{name}.seed0" / DONE).stat().st_mtime_ns for name in names}
    (folder / "jobs" / "no-promise.seed0" / DONE).unlink()
    again = draw_curve(request_of(), folder)
    assert again == curves, "the one without a promise is the same bit for bit, the others were kept"
    kept = {name: (folder / "jobs" / f"{name}.seed0" / DONE).stat().st_mtime_ns == done[name] for name in names}
    assert kept == {"distributed-8": True, "local-8": True, "no-promise": False}

    with pytest.raises(WardroundError, match="WR-1501") as refused:
        draw_curve(request_of((4.0,)), folder)
    assert "another --out" in refused.value.fix
    assert "--resume" not in refused.value.fix, "curve has no such option"
