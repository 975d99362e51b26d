"""An approval of a study in open mode is one of its rounds: each answered once, on one model, with the study's work."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.agents import one_hospital

from wardround.client.home import Home
from wardround.client.hospital import Hospital
from wardround.client.kept_round import FILE
from wardround.client.membership import MEMBERSHIP
from wardround.common.errors import WardroundError
from wardround.common.wire.messages import Describe, Train, Validate

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.common.wire.messages import Trained, Validated


@dataclass
class Site:
    """A hospital, and what it is asked in a run."""

    home: Home
    study: Study
    hospital: Hospital

    def restart(self) -> None:
        """Its process was killed."""
        self.hospital = Hospital(Home(self.home.path), {})

    def model(self, value: float = 0.0) -> Vector:
        return np.full(self.hospital.model(self.study).layout.size, value, dtype=np.float32)

    @property
    def images(self) -> int:
        """Of training; an epoch a round."""
        return self.hospital.describe(Describe(**self._context())).samples

    def train(self, number: int, value: float = 0.0, **changes: Any) -> tuple[Trained, Vector]:
        work = {"round": number, "rounds": 3, "start": (number - 1) * self.images, "samples": self.images}
        question = Train(**(self._context() | work | changes), layout=self._layout)
        return self.hospital.train(question, self.model(value))

    def validate(self, value: float = 0.0) -> Validated:
        return self.hospital.validate(Validate(**self._context(), layout=self._layout), self.model(value))

    def refused(self, number: int, value: float = 0.0, **changes: Any) -> str:
        with pytest.raises(WardroundError) as refusal:
            self.train(number, value, **changes)
        return refusal.value.code

    @property
    def _layout(self) -> str:
        return self.hospital.model(self.study).layout.hash

    def _context(self) -> dict[str, Any]:
        return {"study": self.study.id, "run": "run", "seed": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Study]:
    training = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1, "optimizer_state": "keep"}
    return one_hospital(tmp_path_factory.mktemp("open"), training=training)


@pytest.fixture
def site(made: tuple[Home, Study], tmp_path: Path) -> Site:
    """A member of a consortium, which has answered nothing."""
    home = Home(shutil.copytree(made[0].path, tmp_path / "member"))
    (home.path / MEMBERSHIP).touch()
    return Site(home, made[1], Hospital(home, {}))


@pytest.fixture
def virtual(made: tuple[Home, Study], tmp_path: Path) -> Site:
    """The same one, which is no member."""
    home = Home(shutil.copytree(made[0].path, tmp_path / "virtual"))
    return Site(home, made[1], Hospital(home, {}))


def same(one: tuple[Trained, Vector], other: tuple[Trained, Vector]) -> bool:
    """Times included: it was not computed again."""
    return one[0] == other[0] and one[1].tobytes() == other[1].tobytes()


def test_a_round_is_answered_once_on_one_model(site: Site, virtual: Site) -> None:
    first = site.train(1)
    assert same(site.train(1), first)
    assert site.refused(1, 0.5) == "WR-1301"
    assert site.refused(1, seed=1) == "WR-1301"
    site.restart()
    assert same(site.train(1), first)
    assert site.refused(1, 0.5) == "WR-1301"
    second = site.train(2, 0.5)  # the positive control: the next round is
    assert not same(second, first)
    assert site.refused(1) == "WR-1301"
    assert virtual.train(1)[1].tobytes() == first[1].tobytes()
    virtual.restart()
    assert virtual.train(1, 0.5)[1].tobytes() != first[1].tobytes()


@pytest.mark.parametrize(
    "more",
    [
        {"samples": 2**40},
        {"samples": 30},
        {"samples": 1},
        {"start": 2**40},
        {"start": 0},
        {"start": 5, "samples": 1},
        {"rounds": 4},
        {"run": "another"},
        {"folds": 2, "fold": 1},
    ],
)
def test_a_round_has_the_work_of_the_study_no_more_and_no_less(more: dict[str, Any], site: Site) -> None:
    policy = site.home.path / "policy.toml"
    text = policy.read_text().replace("runs_per_study = 1000000", "runs_per_study = 1")
    policy.write_text(text.replace("cross_validation = true", "cross_validation = false"))
    assert site.images < 28
    site.train(1)  # the positive control
    assert site.refused(2, **more) in {"WR-1301", "WR-1712"}
    site.train(2)


def test_validation_before_a_round_is_the_study_s(tmp_path: Path) -> None:
    home, study = one_hospital(
        tmp_path, training={"rounds": 20, "epochs": 20, "optimizer": "sgd"}, selection={"rule": "last"}
    )
    (home.path / MEMBERSHIP).touch()
    site = Site(home, study, Hospital(home, {}))
    twenty = {"rounds": 20}
    assert site.train(1, **twenty)[0].validation_loss is not None  # the positive control
    assert site.refused(2, **twenty) == "WR-1301"
    assert site.train(2, validate_first=False, **twenty)[0].validation_loss is None


def test_the_last_validation_is_answered_once_and_ends_the_run(site: Site) -> None:
    site.train(1)
    kept = site.home.run_folder("run") / FILE  # type: ignore[arg-type]
    assert kept.stat().st_mode & 0o777 == 0o600
    first = site.validate(0.5)
    assert not kept.exists()
    site.restart()
    assert site.validate(0.5) == first
    with pytest.raises(WardroundError, match="WR-1301"):
        site.validate(0.25)
    assert site.refused(2) == "WR-1301"


def test_the_optimizer_goes_on_where_it_was_after_a_restart(site: Site, virtual: Site) -> None:
    site.train(1)
    virtual.train(1)
    calm = virtual.train(2, 0.5)[1].tobytes()
    site.restart()
    assert site.train(2, 0.5)[1].tobytes() == calm
    virtual.restart()
    assert virtual.train(3, 0.5)[1].tobytes() != site.train(3, 0.5)[1].tobytes(), "the control: the state matters"
