"""What leaves a hospital in a study with a promise to patients, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.simulations.results import NotSent

if TYPE_CHECKING:
    from wardround.common.study import Study

_UNPAID: Final = "not paid for: the budget is for the updates alone"

NOT_SENT: Final = (
    NotSent(what="training loss", why=_UNPAID),
    NotSent(what="validation loss and metrics", why=_UNPAID),
    NotSent(what="numbers of patients, images and classes", why=f"{_UNPAID}; denominators are public numbers"),
    NotSent(what="training time", why=_UNPAID),
    NotSent(what="scores of test patients", why="test patients are outside the promise; their scores stay"),
)
"""None of these leaves a hospital; in a simulation the scores are read where they lie."""


def leaving(study: Study) -> tuple[str, ...]:
    """What the hospitals of a study with a promise send, in words."""
    if study.distributed:
        return (
            (
                "the sum of the drawn patients' clipped gradients with the hospital's share of the noise, masked: only "
                "the sum over hospitals can be read"
            ),
            "keys, encrypted shares and signatures of the secure sum, which hold nothing of patients",
        )
    update = "the difference of the model's weights after the hospital's noisy steps"
    if study.private:
        return (
            f"{update}, masked: only the sum over hospitals can be read",
            "keys, encrypted shares and signatures of the secure sum, which hold nothing of patients",
        )
    return (f"{update}, readable by the coordinator: it is private by itself",)
