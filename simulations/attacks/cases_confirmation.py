"""Attacks on the consistency of steps 4 and 5: who has agreed to which survivor set."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.site_checks import CONFIRM_PURPOSE
from wardround.simulations.attacks.case import SMALL, Case
from wardround.simulations.attacks.lab import Gain, Setting

if TYPE_CHECKING:
    from wardround.simulations.attacks.coordinator import View
    from wardround.simulations.attacks.lab import Lab

OTHER_HEAD: Final = bytes([1]) * 32


def split_views(lab: Lab) -> Gain:
    """Show a set with the victim to as few sites as are needed, and a set without it to all the others.

    The others are too few for a certificate, and for t shares; so some of the first group are asked again.
    """
    view = lab.uploaded(lab.first_session())
    colluding, honest = lab.positions(lab.colluders), lab.positions(lab.honest)
    needed = lab.setting.sizes.threshold - len(colluding)
    view.open_set(lab.positions(), (*colluding, *honest[:needed]))
    rest = view.survivors(lab.positions(lab.others))
    signatures = view.confirm(rest, (*colluding, *honest[needed:]))
    view.open(rest, signatures, (*colluding, *honest[needed:]))
    again = honest[: 2 * needed - len(honest)]
    signatures |= view.confirm(rest, again)
    view.open(rest, signatures, again)
    return lab.recovered(view.total(lab.positions([lab.victim])))


def disagreeing_views(lab: Lab) -> Gain:
    """Show every site a set of its own; nobody is asked twice, and no two agree.

    m sites are honest and a = t - k of them have to answer. All sets hold the same s < a honest sites, and each of
    the other m - s in turn, in at most m - a sets. So a sites open the self masks of the s, and for each of the
    others a sites open what they share with it: the sum of the s sites is open, fewer than a sum may have.
    """
    view = lab.uploaded(lab.first_session())
    honest, colluding = lab.positions(lab.honest), lab.positions(lab.colluders)
    few = _few(len(honest), lab.setting.sizes.threshold - len(colluding))
    target, others = honest[:few], honest[few:]
    fill = lab.setting.sizes.threshold - len(colluding) - few
    for number, site in enumerate(honest):
        turn = [others[(number * fill + place) % len(others)] for place in range(fill)]
        view.open_set(sorted((*target, *turn, *colluding)), [site])
    for position in target:
        view.read_packets(position, colluding)
    view.learn_seeds(colluding)
    truth = lab.truth([lab.sites[position] for position in target])
    reached = bool(np.array_equal(view.total(target), truth))
    least = lab.setting.sizes.minimum_sum
    return Gain(reached, f"the sum of {few} hospitals, exactly, where {least} sites are the least")


def _few(honest: int, answers: int) -> int:
    """Least s for which the sets of :func:`disagreeing_views` exist."""
    fits = (s for s in range(1, answers) if -(-honest * (answers - s) // (honest - s)) <= honest - answers)
    return next(fits)


def colluders_at_the_bound(lab: Lab) -> Gain:
    """Two groups as large as needed, one shown a set with the victim and one without: they overlap, or do not."""
    view = lab.uploaded(lab.first_session())
    honest, colluding = lab.positions(lab.honest), lab.positions(lab.colluders)
    needed = lab.setting.sizes.threshold - len(colluding)
    view.open_set(lab.positions(), (*colluding, *honest[:needed]))
    view.open_set(lab.positions(lab.others), (*colluding, *honest[-needed:]))
    return lab.recovered(view.total(lab.positions([lab.victim])))


def stripped_signatures(lab: Lab) -> Gain:
    """Leave out all signatures but t - 1."""
    view = lab.uploaded(lab.first_session())
    everyone = view.survivors(lab.positions())
    signatures = view.confirm(everyone, lab.quorum())
    few = dict(islice(signatures.items(), len(signatures) - 1))
    view.open(everyone, few, lab.quorum())
    return _masquerade(lab, view, few)


def forged_confirmation(lab: Lab) -> Gain:
    """Sign in the name of a site with a key of the coordinator's own."""
    view = lab.uploaded(lab.first_session())
    everyone = view.survivors(lab.positions())
    *quorum, silent = lab.quorum()
    signatures = view.confirm(everyone, quorum)
    coordinator = lab.stage.hospitals[lab.admit_impostor(lab.sites[silent])].spec.identity
    signatures[silent] = coordinator.sign(CONFIRM_PURPOSE, everyone.statement())
    view.confirm(everyone, [silent])
    view.open(everyone, signatures, lab.quorum())
    return _masquerade(lab, view, signatures)


def signatures_over_another_head(lab: Lab) -> Gain:
    """Show two heads of the coordinator's log, and count the signatures over both together."""
    view = lab.uploaded(lab.first_session())
    quorum = lab.quorum()
    half = len(quorum) // 2
    heads = {
        view.survivors(lab.positions()): quorum[:half],
        view.survivors(lab.positions(), OTHER_HEAD): quorum[half:],
    }
    signatures: dict[int, bytes] = {}
    for survivors, signers in heads.items():
        signatures |= view.confirm(survivors, signers)
    for survivors, signers in heads.items():
        view.open(survivors, signatures, signers)
    return _masquerade(lab, view, signatures)


def another_set_than_confirmed(lab: Lab) -> Gain:
    """A set was opened; in the next attempt another one is confirmed, and the first one is named for the opening."""
    view = lab.uploaded(lab.first_session())
    signatures = view.open_set(lab.positions(), lab.quorum())
    return _masquerade(lab, view, signatures)


def _masquerade(lab: Lab, first: View, signatures: dict[int, bytes]) -> Gain:
    """In the next attempt, have another set confirmed and open it in the name of the first one.

    To the rule of one opening a model, it looks like the same set again.
    """
    second = lab.uploaded(first.session, attempt=2)
    rest = lab.positions(lab.others)
    second.confirm(second.survivors(rest), lab.quorum())
    second.open(second.survivors(lab.positions()), signatures, lab.quorum(), holds=rest)
    return lab.recovered(first.total(lab.positions()) - second.total(rest))


def replayed_open(lab: Lab) -> Gain:
    """As above, with the request of the first attempt, byte for byte: its signatures are genuine."""
    first = lab.uploaded(lab.first_session())
    signatures = first.open_set(lab.positions(), lab.quorum())
    second = lab.uploaded(first.session, attempt=2)
    rest = lab.positions(lab.others)
    second.confirm(second.survivors(rest), lab.quorum())
    second.open(first.survivors(lab.positions()), signatures, lab.quorum(), holds=rest)
    return lab.recovered(first.total(lab.positions()) - second.total(rest))


def confirmation_of_an_old_attempt(lab: Lab) -> Gain:
    """In the second attempt, have another set of the first one confirmed, over packets of the second one."""
    first = lab.uploaded(lab.first_session())
    first.confirm(first.survivors(lab.positions()), lab.quorum())
    second = lab.uploaded(first.session, attempt=2)
    rest = lab.positions(lab.others)
    given = {holder: second.packets_to(holder, rest) for holder in lab.quorum()}
    signed = second.confirm(first.survivors(rest), lab.quorum(), given)
    reached = len(signed) >= lab.setting.sizes.threshold
    return Gain(reached, "two confirmed sets of one attempt (no update: the first attempt's shares are erased)")


def confirmation_without_need(lab: Lab) -> Gain:
    """In a semi-honest session, where nothing is confirmed, ask for a signature."""
    view = lab.uploaded(lab.first_session())
    signed = view.confirm(view.survivors(lab.positions()), lab.quorum())
    return Gain(bool(signed), "a signature over a survivor set in a session that has none (no update)")


def two_forms(lab: Lab) -> Gain:
    """An active session's request to open holds packets as well, which nothing has confirmed."""
    view = lab.uploaded(lab.first_session())
    survivors = view.survivors(lab.positions())
    signatures = view.confirm(survivors, lab.quorum())
    view.open(survivors, signatures, lab.quorum(), with_packets=True)
    reached = np.array_equal(view.total(lab.positions()), lab.truth(lab.sites))
    return Gain(bool(reached), "an opening on a request with parts that nothing covers (no update: they are not read)")


def _semi_honest(sites: int) -> Setting:
    return replace(Setting.usual(sites), strength=Strength.SEMI_HONEST)


def _five_honest(sites: int) -> Setting:
    return Setting.of(sites, 0) if sites == 5 else Setting.usual(sites)


def _odd(sites: int) -> Setting:
    """N + k is odd, so that 2t = n + k + 1 and one more colluding site makes the difference."""
    return Setting.of(sites, {5: 2, 10: 3, 50: 17}[sites])


def _one_more(sites: int) -> Setting:
    assumed = _odd(sites).colluding
    return Setting(sites, assumed, assumed + 1)


CASES: Final = (
    Case(
        "split-views",
        "two groups of sites are shown different survivors, one of them too small",
        split_views,
        "WR-1708",
        ("certificate", "one_signature", "opened_once"),
        SMALL,
    ),
    Case(
        "disagreeing-views",
        "every site is shown survivors of its own, without any signature but its own",
        disagreeing_views,
        "WR-1708",
        ("certificate",),
        setting=_five_honest,
        senseless={3: "such sets exist from five honest sites on; below, t shares alone stop it"},
    ),
    Case(
        "colluders-at-the-bound",
        "two groups of sites are shown different survivors; k sites collude, and in the control one more",
        colluders_at_the_bound,
        "WR-1708",
        setting=_odd,
        control=_one_more,
        senseless={3: "the least sum is three sites, so that there are no two sets"},
    ),
    Case(
        "stripped-signatures",
        "t - 1 signatures",
        stripped_signatures,
        "WR-1708",
        ("certificate", "confirmed"),
        SMALL,
    ),
    Case(
        "forged-confirmation",
        "one of t signatures is the coordinator's own",
        forged_confirmation,
        "WR-1703",
        ("certificate", "confirmed"),
        SMALL,
    ),
    Case(
        "signatures-over-another-head",
        "half of t signatures are over another head of the coordinator's log",
        signatures_over_another_head,
        "WR-1703",
        ("certificate", "confirmed"),
        SMALL,
    ),
    Case(
        "another-set-than-confirmed",
        "a set is confirmed, and another one is named for the opening",
        another_set_than_confirmed,
        "WR-1708",
        ("certificate", "confirmed"),
        SMALL,
    ),
    Case(
        "replayed-open",
        "the request that opened an earlier attempt is sent again",
        replayed_open,
        "WR-1706",
        ("this_attempt", "confirmed"),
        SMALL,
        {3: "WR-1708"},
    ),
    Case(
        "confirmation-without-need",
        "a signature is asked for in a semi-honest session",
        confirmation_without_need,
        "WR-1706",
        ("strength",),
        setting=_semi_honest,
    ),
    Case(
        "two-forms",
        "a request to open holds packets besides the signatures",
        two_forms,
        "WR-1701",
        ("one_form",),
    ),
    Case(
        "confirmation-of-an-old-attempt",
        "a second set of an earlier attempt is to be confirmed",
        confirmation_of_an_old_attempt,
        "WR-1706",
        ("this_attempt",),
        SMALL,
    ),
)
