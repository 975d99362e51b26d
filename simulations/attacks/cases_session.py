"""Attacks on steps 1 and 2: who is in the cohort, and whose keys they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.simulations.attacks.case import Case

if TYPE_CHECKING:
    from wardround.simulations.attacks.coordinator import View
    from wardround.simulations.attacks.lab import Gain, Lab


def swapped_key(lab: Lab) -> Gain:
    """Show the victim keys of the coordinator's own in place of everybody else's: all its packets can be read."""
    lab.admit([lab.victim])
    keys = {site: lab.admit_impostor(site) for site in lab.others}
    view = lab.uploaded(lab.session(lab.context(), keys))
    return read_everything(lab, view)


def read_everything(lab: Lab, view: View) -> Gain:
    """Recover the victim's update from its own upload: the coordinator is everybody else."""
    victim, *_ = view.session.positions([lab.victim])
    others = [position for position in range(len(view.session.context.cohort)) if position != victim]
    view.read_packets(victim, others)
    return lab.recovered(view.total([victim]))


CASES: Final = (
    Case(
        "swapped-key",
        "the session keys of all others are replaced by the coordinator's",
        swapped_key,
        "WR-1703",
        ("advert_signature",),
    ),
)
