"""Attacks on step 3: which model, which round, which attempt, under which bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.simulations.attacks.case import Case
from wardround.simulations.attacks.lab import dead_model, model_of_round

if TYPE_CHECKING:
    from wardround.simulations.attacks.lab import Gain, Lab


def another_model_to_one_site(lab: Lab) -> Gain:
    """Give everybody a model on which updates are zero, and the victim another one: the sum is its update.

    Pasquini, Francati, Ateniese: Eluding Secure Aggregation in Federated Learning via Model Inconsistency,
    CCS 2022.
    """
    view = lab.view(lab.first_session(), content=dead_model())
    victim = lab.positions([lab.victim])
    view.begin(victim, model_of_round(1))
    view.begin(lab.positions(lab.others))
    view.upload(lab.positions())
    view.open_set(lab.positions(), lab.quorum())
    return lab.recovered(lab.less_weights(view.total(lab.positions()), lab.setting.sites - 1))


CASES: Final = (
    Case(
        "another-model-to-one-site",
        "the victim is given another model than the one that the round names",
        another_model_to_one_site,
        "WR-1705",
        ("same_model",),
    ),
)
