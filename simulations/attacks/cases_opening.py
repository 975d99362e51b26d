"""Attacks on steps 4 and 5: which masks are opened, and for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.simulations.attacks.case import SMALL, Case
from wardround.simulations.attacks.weakened import SENDER

if TYPE_CHECKING:
    from wardround.simulations.attacks.lab import Gain, Lab


def overlapping_lists(lab: Lab) -> Gain:
    """Open everybody's sum, and in the same attempt everybody's but the victim's: both masks of the victim."""
    view = lab.uploaded(lab.first_session())
    view.open_set(lab.positions(), lab.quorum())
    view.open_set(lab.positions(lab.others), lab.quorum())
    return lab.recovered(view.total(lab.positions([lab.victim])))


def second_opening(lab: Lab) -> Gain:
    """Open everybody's sum in one attempt and, of the same updates, everybody's but the victim's in the next."""
    session = lab.first_session()
    first, rest = lab.uploaded(session), lab.positions(lab.others)
    first.open_set(lab.positions(), lab.quorum())
    second = lab.uploaded(session, attempt=2)
    second.open_set(rest, lab.quorum())
    return lab.recovered(first.total(lab.positions()) - second.total(rest))


def single_survivor(lab: Lab) -> Gain:
    """Ask everybody to open a sum of the victim alone."""
    view = lab.uploaded(lab.first_session())
    view.open_set(lab.positions([lab.victim]), lab.quorum())
    return lab.recovered(view.total(lab.positions([lab.victim])))


def swapped_share(lab: Lab) -> Gain:
    """Leave the victim out of U, and hand out its packets as those of another site.

    Each site takes its share of the victim's self mask for a share of a pair seed that has to be opened.
    """
    view = lab.uploaded(lab.first_session())
    victim, *_ = lab.positions([lab.victim])
    stand_in, *more = lab.positions(lab.colluders)
    rest, deceived = lab.positions(lab.others), lab.positions(site for site in lab.honest if site != lab.victim)
    swapped = {
        holder: view.packets_to(holder, rest) | {stand_in: view.uploads[victim].packets[holder]} for holder in deceived
    }
    survivors = view.survivors(rest)
    signatures = view.confirm(survivors, deceived, swapped) | view.confirm(survivors, [stand_in, *more])
    view.open(
        survivors,
        signatures,
        deceived,
        read_as={(stand_in, stand_in): (victim, stand_in), (stand_in, victim): (victim, victim)},
    )
    view.open(survivors, signatures, [stand_in, *more])
    view.read_packets(victim, [stand_in, *more])
    return lab.recovered(view.total([victim]))


CASES: Final = (
    Case(
        "overlapping-lists",
        "the victim stands among the survivors for one opening and among the silent for another, in one attempt",
        overlapping_lists,
        "WR-1708",
        ("one_signature", "opened_once"),
        SMALL,
    ),
    Case(
        "second-opening",
        "a later attempt of a round that was opened is opened over other sites",
        second_opening,
        "WR-1707",
        ("opened_once",),
        SMALL,
        {3: "WR-1708"},
    ),
    Case(
        "single-survivor",
        "the survivor set is one hospital",
        single_survivor,
        "WR-1708",
        ("enough_survivors",),
    ),
    Case(
        "swapped-share",
        "the victim's packets are handed out as those of another site",
        swapped_share,
        "WR-1709",
        (SENDER,),
        senseless={3: "no sum is opened without the victim, and none of the three colludes"},
    ),
)
