"""What is told of runs: in words for people, in numbers for metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.ids import SiteId, StudyRunId
    from wardround.server.runs.talk import Gathering, Presence, RoundCommitted


@dataclass(slots=True)
class Counters:
    """What happened since this coordinator began; for metrics.

    Attributes:
        rounds: Rounds committed.
        left_out: Times that a site was left out of a round.
        restarts: Processes of runs that were begun again.
        seconds: Wall-clock time of the newest round, by run.
    """

    rounds: int = 0
    left_out: int = 0
    restarts: int = 0
    seconds: dict[StudyRunId, float] = field(default_factory=dict)


def opened_words(number: int, rounds: int) -> str:
    """What the run does, for people."""
    return "last validation" if number > rounds else f"round {number} of {rounds}"


def gathering_words(said: Gathering, presence: Mapping[SiteId, Presence]) -> str:
    """Whom the run waits for."""
    told = [f"{site} ({presence[site].words or 'not heard yet'})" for site in said.missing if site in presence]
    sites = "1 site is" if said.needed == 1 else f"{said.needed} sites are"
    return f"waits until {sites} heard; missing: {', '.join(told) or 'nobody'}"


def committed_words(said: RoundCommitted, rounds: int) -> str:
    """What came of a round."""
    parts = [f"round {said.round} of {rounds}: {len(said.sites)} sites"]
    if said.attempts > 1:
        parts.append(f"{said.attempts} attempts")
    parts += [f"without {site}: {reason}" for site, reason in said.dropped.items()]
    parts += [f"{site} silent after its upload: {reason}" for site, reason in said.silent.items()]
    return "; ".join(parts)
