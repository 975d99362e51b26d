"""Deterministic bytes in the place of the operating system's, for all that becomes part of an update.

That is sampling, noise and stochastic rounding. Keys and masks stay the operating system's: they cancel exactly. Each
part of each round of each hospital has a stream of its own, so that the order of messages does not matter, nor in which
process a hospital works; the study run is not part of the name, because a simulation gives its runs other ids.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakes.secagg_stores import RepeatableRandom

from wardround.client.noisy import NoisyRounds
from wardround.client.secagg.rounds import PrivateRounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.client.secagg.contribution import Contribution
    from wardround.common.secagg.site import Site
    from wardround.common.vector import Vector
    from wardround.common.wire.noisy import TrainNoisy

TESTS = Path(__file__).resolve().parents[1]


def injected_worker(seed: int) -> tuple[str, ...]:
    """The command of a worker whose updates follow from ``seed``: this module, and then the production worker."""
    lines = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r})",
        f"from fakes.injected_randomness import inject; inject({seed})",
        "from wardround.client.agent.worker import main; main()",
    )
    return (sys.executable, "-I", "-c", "\n".join(lines))


def inject(seed: int, patch: Callable[[object, str, object], Any] = setattr) -> None:
    """Let every hospital of this process draw from ``seed``.

    Args:
        seed: Names all streams.
        patch: Replaces an attribute; a test gives pytest's, which puts it back.
    """
    computed, train = PrivateRounds._computed, NoisyRounds.train

    def drawn_in_private(site: Site, work: Contribution, vector: Vector) -> Any:
        source = RepeatableRandom((seed, work.hospital.home.site, work.study.id, "private", work.number))
        return computed(site, replace(work, random=source), vector)

    def drawn_in_the_open(rounds: NoisyRounds, question: TrainNoisy, vector: Vector) -> Any:
        source = RepeatableRandom((seed, rounds._hospital.home.site, question.study, "open", question.round))
        return train(NoisyRounds(rounds._hospital, source), question, vector)

    patch(PrivateRounds, "_computed", staticmethod(drawn_in_private))
    patch(NoisyRounds, "train", drawn_in_the_open)
