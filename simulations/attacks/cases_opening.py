"""Attacks on steps 4 and 5: over which sites a sum is opened."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.simulations.attacks.case import SMALL, Case
from wardround.simulations.attacks.lab import Gain, Setting
from wardround.simulations.attacks.weakened import SENDER

if TYPE_CHECKING:
    from wardround.simulations.attacks.lab import Lab


def overlapping_lists(lab: Lab) -> Gain:
    """Open everybody's sum, and in the same attempt everybody's but the victim's: both masks of the victim."""
    view = lab.uploaded(lab.first_session())
    view.open_set(lab.positions(), lab.quorum())
    view.open_set(lab.positions(lab.others), lab.quorum())
    return lab.recovered(view.total(lab.positions([lab.victim])))


def delayed_upload(lab: Lab) -> Gain:
    """Open everybody's sum but the victim's, whose upload arrives afterwards; then ask for its self mask as well."""
    view = lab.view(lab.first_session())
    view.begin(lab.positions())
    view.upload(lab.positions(lab.others))
    view.open_set(lab.positions(lab.others), lab.quorum())
    view.upload(lab.positions([lab.victim]))
    view.open_set(lab.positions(), lab.quorum())
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
    """Ask for a sum of the victim alone."""
    view = lab.uploaded(lab.first_session())
    view.open_set(lab.positions([lab.victim]), lab.quorum())
    return lab.recovered(view.total(lab.positions([lab.victim])))


def victim_and_colluders(lab: Lab) -> Gain:
    """Ask for a sum of the victim and of all sites that collude, who know their own updates."""
    view = lab.uploaded(lab.first_session())
    survivors = lab.positions((lab.victim, *lab.colluders))
    view.open_set(survivors, lab.quorum())
    return lab.recovered(view.total(survivors) - lab.truth(lab.colluders))


def below_the_studys_least(lab: Lab) -> Gain:
    """The study wants every site in every sum, and one is left out."""
    view = lab.uploaded(lab.first_session())
    view.open_set(lab.positions(lab.others), lab.quorum())
    total = view.total(lab.positions(lab.others))
    return Gain(bool(np.array_equal(total, lab.truth(lab.others))), "a sum of fewer sites than the study allows")


def one_drop_of_three(lab: Lab) -> Gain:
    """One of three hospitals is silent, and the sum of the other two is asked for: each learns the other's update."""
    left = lab.positions(lab.sites[:2])
    view = lab.view(lab.first_session())
    view.begin(left)
    view.upload(left)
    view.open_set(left, left)
    other = next(site for site in lab.sites[:2] if site != lab.victim)
    return lab.recovered(view.total(left) - lab.truth([other]))


def named_without_upload(lab: Lab) -> Gain:
    """Ask the victim, which has not uploaded, to sign a set that it is in."""
    victim = lab.positions([lab.victim])
    view = lab.view(lab.first_session())
    view.begin(lab.positions())
    view.upload(lab.positions(lab.others))
    signed = view.confirm(view.survivors(lab.positions()), victim)
    return Gain(bool(signed), "a signature over a sum that cannot be opened (no update: nobody has its packets)")


def packet_from_outside(lab: Lab) -> Gain:
    """Hand out the victim's packets along with those of the set that it is left out of."""
    view = lab.uploaded(lab.first_session())
    asked = lab.positions(site for site in lab.honest if site != lab.victim)
    given = {holder: view.packets_to(holder, lab.positions()) for holder in asked}
    signed = view.confirm(view.survivors(lab.positions(lab.others)), asked, given)
    return Gain(
        bool(signed), "a signature over a set with packets from outside of it (no update: none of them is opened)"
    )


def swapped_share(lab: Lab) -> Gain:
    """Leave the victim out of U, and hand out its packets as those of a colluding site.

    Where the packet of that site u would hold shares of s_uv, the victim's holds shares of b_v: they are opened.
    """
    view = lab.uploaded(lab.first_session())
    victim, *_ = lab.positions([lab.victim])
    colluding = lab.positions(lab.colluders)
    stand_in = colluding[0]
    rest, deceived = lab.positions(lab.others), lab.positions(site for site in lab.honest if site != lab.victim)
    swapped = {
        holder: view.packets_to(holder, rest) | {stand_in: view.uploads[victim].packets[holder]} for holder in deceived
    }
    survivors = view.survivors(rest)
    signatures = view.confirm(survivors, deceived, swapped) | view.confirm(survivors, colluding)
    in_truth = {(stand_in, stand_in): (victim, stand_in), (stand_in, victim): (victim, victim)}
    view.open(survivors, signatures, deceived, read_as=in_truth)
    view.open(survivors, signatures, colluding)
    view.read_packets(victim, colluding)
    return lab.recovered(view.total([victim]))


def _everybody(sites: int) -> Setting:
    return replace(Setting.usual(sites), smallest_sum=sites)


_NOBODY_OUTSIDE: Final = {3: "no sum is opened without the victim"}

CASES: Final = (
    Case(
        "overlapping-lists",
        "the victim is among the survivors for one opening and among the silent for another, in one attempt",
        overlapping_lists,
        "WR-1708",
        ("one_signature", "opened_once"),
        SMALL,
    ),
    Case(
        "delayed-upload",
        "the victim's upload arrives after the others' sum was opened, and its self mask is asked for",
        delayed_upload,
        "WR-1708",
        ("one_signature", "opened_once"),
        senseless=_NOBODY_OUTSIDE,
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
        "the survivor set is the victim",
        single_survivor,
        "WR-1708",
        ("enough_survivors",),
    ),
    Case(
        "victim-and-colluders",
        "the survivor set is the victim and all sites that collude",
        victim_and_colluders,
        "WR-1708",
        ("enough_survivors",),
        setting=Setting.with_one,
    ),
    Case(
        "below-the-studys-least",
        "the survivor set is smaller than the study allows, though not too small for the cohort",
        below_the_studys_least,
        "WR-1708",
        ("enough_survivors",),
        setting=_everybody,
        senseless=_NOBODY_OUTSIDE,
    ),
    Case(
        "one-drop-of-three",
        "one of three is silent before its upload, and the sum of two is asked for",
        one_drop_of_three,
        "WR-1708",
        ("enough_survivors",),
        senseless=dict.fromkeys((5, 10, 50), "it is about three sites; single-survivor is the same for more"),
    ),
    Case(
        "named-without-upload",
        "the survivor set names the victim, which has not uploaded",
        named_without_upload,
        "WR-1708",
        ("truly_uploaded",),
    ),
    Case(
        "packet-from-outside",
        "packets of a site outside of the survivor set are handed out",
        packet_from_outside,
        "WR-1709",
        ("all_packets",),
        senseless=_NOBODY_OUTSIDE,
    ),
    Case(
        "swapped-share",
        "the victim's packets are handed out as those of a colluding site, in a set without the victim",
        swapped_share,
        "WR-1709",
        (SENDER,),
        senseless=_NOBODY_OUTSIDE,
    ),
)
