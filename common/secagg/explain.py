"""What people are told about an attempt that ended without a sum; both sides use the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.secagg.messages import AttemptEnded, Stage

if TYPE_CHECKING:
    from wardround.common.secagg.context import RoundContext, SessionContext

_DONE: Final = {
    Stage.UPLOAD: "uploaded",
    Stage.CONFIRM: "confirmed the survivor set",
    Stage.OPEN: "sent their shares",
}


def explain(session: SessionContext, context: RoundContext, told: AttemptEnded) -> str:
    """How many were there, how many were needed, and who was missing."""
    missing = [site for position, site in enumerate(session.cohort) if position not in told.present]
    return (
        f"Round {context.round}, attempt {context.attempt}: {len(told.present)} of {len(session.cohort)} sites "
        f"{_DONE[told.stage]}, at least {told.needed} are needed; missing: {', '.join(missing) or 'none'}."
    )


UNOPENED: Final = "The sum was not opened: nobody learned an update or a sum."
"""The coordinator's own knowledge: fewer shares than the threshold came, or they do not fit."""

CLOSED: Final = "By its own records this site has sent no share on this model: its update stays masked and sealed."

SHARED: Final = (
    "By its own records this site has sent its shares for one sum on this model, over the sites that were confirmed "
    "together; no single update and no other sum can be opened."
)
