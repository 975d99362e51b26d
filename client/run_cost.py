"""What a study run has cost this hospital's patients so far: what egress.jsonl says beside each message of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.common.ids import StudyRunId
    from wardround.common.study import Study


def cost_so_far(home: Home, study: Study, run: StudyRunId) -> float | None:
    """Epsilon that a run has cost each patient so far, of this run alone, at the study's delta.

    Training patients and validation patients are others, with costs of their own: it is the larger of the two.

    Args:
        home: The hospital's home.
        study: The study.
        run: Its run.

    Returns:
        By privacy loss distribution; None: the study promises nothing, or the ledger knows no such run.

    Raises:
        WardroundError: WR-1811 to WR-1814, the ledger is not usable.
    """
    from wardround.client.spending import validations_of
    from wardround.common.privacy import pld

    promise = study.privacy
    known = home.ledger.state().runs if home.ledger.exists else {}
    if promise is None or not promise.noisy or run not in known:
        return None
    paid, validated = promise.validation, known.get(validations_of(run))
    parts = [(promise.step, known[run].spent_steps)]
    if paid is not None and validated is not None:
        parts.append((paid.step, validated.spent_steps))
    return max(pld.epsilon(step, steps, promise.delta) if steps else 0.0 for step, steps in parts)
