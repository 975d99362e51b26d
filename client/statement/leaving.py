"""What leaves a hospital in a study with a promise to patients, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.client.statement.rows import NotSent

if TYPE_CHECKING:
    from wardround.common.study import Study

_UNPAID: Final = "not paid for, the budget is for the updates alone"
_NO_MORE: Final = "not paid for, the validation patients' budget is for the loss alone"


def not_sent(study: Study) -> tuple[NotSent, ...]:
    """What does not leave a hospital in a study with a promise; in a simulation scores are read where they lie."""
    unpaid = NotSent(what="validation loss and metrics", why=_UNPAID)
    return (
        NotSent(what="training loss", why=_UNPAID),
        unpaid if study.promise.validation is None else NotSent(what="validation metrics", why=_NO_MORE),
        NotSent(what="numbers of patients, images and classes", why=f"{_UNPAID}; denominators are public numbers"),
        NotSent(what="training time", why=_UNPAID),
        NotSent(what="scores of test patients", why="test patients are outside the promise; their scores stay"),
    )


def leaving(study: Study) -> tuple[str, ...]:
    """What the hospitals of a study with a promise send, in words."""
    return (*_updates(study), *_losses(study))


def _losses(study: Study) -> tuple[str, ...]:
    paid = study.promise.validation
    if paid is None:
        return ()
    masked = ", masked" if study.private else ""
    return (
        (
            f"in {paid.times} of the rounds, the sum of the validation patients' losses, each counted up to "
            f"{paid.loss_cap:g}, with noise that they pay for{masked}"
        ),
    )


def _updates(study: Study) -> tuple[str, ...]:
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
