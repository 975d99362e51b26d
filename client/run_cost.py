"""What a study run has cost this hospital's patients so far: what egress.jsonl says beside each message of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.common.ids import StudyRunId
    from wardround.common.study import Study


def cost_so_far(home: Home, study: Study, run: StudyRunId) -> float | None:
    """Epsilon that a run has cost each training patient so far, of this run alone, at the study's delta.

    Args:
        home: The hospital's home.
        study: The study.
        run: Its run.

    Returns:
        By privacy loss distribution; None: the study promises nothing, or the ledger knows no such run.

    Raises:
        WardroundError: WR-1811 to WR-1814, the ledger is not usable.
    """
    from wardround.common.privacy import pld

    promise = study.privacy
    known = home.ledger.state().runs.get(run) if home.ledger.exists else None
    if promise is None or not promise.noisy or known is None:
        return None
    return pld.epsilon(promise.step, known.spent_steps, promise.delta) if known.spent_steps else 0.0
