"""The points of a curve: one study over several epsilons and trust models, and what it reaches without a promise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from wardround.common.errors import WardroundError
from wardround.common.study import Study, build_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.simulations.scenario import Scenario

Trust = Literal["local", "distributed"]
Epsilon = float | Literal["infinite"]

TRUSTS: Final[tuple[Trust, ...]] = ("distributed", "local")
REFERENCE: Final = "no-promise"
"""Name of the point without differential privacy."""


@dataclass(frozen=True)
class Point:
    """One study of a curve.

    Attributes:
        name: Stands for an arm's name in tables.
        trust: None: without a promise.
        epsilon: None: without a promise.
        study: What is trained.
    """

    name: str
    trust: Trust | None
    epsilon: Epsilon | None
    study: Study


def curve_points(
    study: Study, epsilons: Sequence[Epsilon], trusts: Sequence[Trust], reference: Study | None = None
) -> tuple[Point, ...]:
    """Every point: the promises by trust model in the order given, epsilon rising, then the reference.

    All points take the same number of steps. Where trust model ``distributed``, which takes one step a round, is made
    of a study with several local steps, it has so many times more rounds. Its sums are secure; the others are open. The
    noise is solved anew for each epsilon, and no losses of validation patients are sent.

    Args:
        study: With a promise.
        epsilons: Above 0, or ``infinite``; each once.
        trusts: Each once.
        reference: Trained without a promise and in open mode; None: ``study`` without its promise.

    Raises:
        WardroundError: WR-1817, there is no curve of these; WR-1002, WR-1801 or WR-1805, a point is no study.
    """
    if study.privacy is None:
        raise WardroundError("WR-1817", "The study has no [privacy] table whose epsilon could be changed.")
    if not epsilons or len(set(epsilons)) != len(epsilons) or not trusts or len(set(trusts)) != len(trusts):
        raise WardroundError("WR-1817", "A curve needs one epsilon and one trust model or more, each once.")
    if reference is not None and _patients(reference) != _patients(study):
        raise WardroundError("WR-1817", "The reference has other sites, another task or another split of patients.")
    points = [_promised(study, trust, epsilon) for trust in trusts for epsilon in sorted(epsilons, key=size)]
    return (*points, Point(REFERENCE, None, None, _without(reference or study)))


def size(epsilon: Epsilon) -> float:
    """An epsilon as a float, maybe inf."""
    return math.inf if isinstance(epsilon, str) else epsilon


def read_epsilon(text: str) -> Epsilon:
    """An epsilon as people write it.

    Raises:
        WardroundError: WR-1817, it is neither ``infinite`` nor a number above 0.
    """
    if text.strip() == "infinite":
        return "infinite"
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise WardroundError("WR-1817", f"{text.strip()!r} is no epsilon: a number above 0, or infinite.")
    return found


def read_trust(text: str) -> Trust:
    """A trust model as people write it.

    Raises:
        WardroundError: WR-1817, there is no such one.
    """
    for trust in TRUSTS:
        if trust == text.strip():
            return trust
    raise WardroundError("WR-1817", f"There is no trust model {text.strip()!r}: {' and '.join(TRUSTS)} exist.")


def check_scenario(scenario: Scenario, reference: Scenario | None) -> None:
    """Refuse a reference whose hospitals have other patients.

    Raises:
        WardroundError: WR-1817.
    """
    if reference is not None and reference.simulation.model_copy(update={"arms": ()}) != (
        scenario.simulation.model_copy(update={"arms": ()})
    ):
        raise WardroundError("WR-1817", "The reference's [simulation] table describes other hospitals.")


def _patients(study: Study) -> tuple[object, ...]:
    """What says which patients a study trains and tests on, and for what."""
    return study.sites, study.task, study.split


def _promised(study: Study, trust: Trust, epsilon: Epsilon) -> Point:
    promise, fields = study.promise, study.model_dump(by_alias=True)
    private = trust == "distributed"
    steps = promise.local_steps if private else 1
    fields["training"] |= {"rounds": study.training.rounds * steps}
    fields["privacy"] |= {"trust": trust, "epsilon": epsilon, "noise_multiplier": None, "validation": None}
    fields["privacy"] |= {"local_steps": 1} if private else {}
    fields["aggregation"] |= {"mode": "private"} if private else {"mode": "open", "secure": None}
    return Point(f"{trust}-{size(epsilon):g}", trust, epsilon, build_study(fields))


def _without(study: Study) -> Study:
    fields = study.model_dump(by_alias=True)
    fields["aggregation"] |= {"mode": "open", "secure": None}
    return build_study(fields | {"privacy": None})
