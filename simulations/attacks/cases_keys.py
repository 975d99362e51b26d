"""Attacks on the session keys of steps 1 and 2: whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.secagg.keys import PairChains, commitment
from wardround.common.secagg.messages import Advert, advert_statement
from wardround.common.secagg.site_checks import ADVERT_PURPOSE
from wardround.simulations.attacks.case import Case
from wardround.simulations.attacks.coordinator import Session
from wardround.simulations.attacks.lab import Gain, Setting
from wardround.simulations.attacks.weakened import FULL_ORDER

if TYPE_CHECKING:
    from wardround.common.ids import SiteId
    from wardround.simulations.attacks.coordinator import View
    from wardround.simulations.attacks.lab import Lab

LOW_ORDER: Final = bytes(32), (1).to_bytes(32, "little")
"""Two points with which every agreement gives zeros (RFC 7748, section 6.1)."""


def swapped_key(lab: Lab) -> Gain:
    """Show the victim keys of the coordinator's own in place of everybody else's: all its packets can be read."""
    lab.admit([lab.victim])
    keys = {site: lab.admit_impostor(site) for site in lab.others}
    return read_everything(lab, lab.uploaded(lab.session(lab.context(), keys)))


def read_everything(lab: Lab, view: View) -> Gain:
    """Recover the victim's update from its own upload: the coordinator is everybody else."""
    victim, *_ = view.session.positions([lab.victim])
    others = [position for position in range(len(view.session.context.cohort)) if position != victim]
    view.read_packets(victim, others)
    return lab.recovered(view.total([victim]))


def swapped_own_key(lab: Lab) -> Gain:
    """As above, and in the list even the victim's own keys are other ones."""
    lab.admit([lab.victim])
    double = lab.admit_impostor(lab.victim)
    session = Session(lab.stage, lab.context(), {site: lab.admit_impostor(site) for site in lab.others})
    session.advertise()
    victim, *_ = lab.positions([lab.victim])
    stolen = session.private_keys(lab.positions(lab.others))
    shown = list(session.adverts)
    shown[victim] = lab.stage.send(double, "advertise", session.context.encode())
    session.join(tuple(shown))
    return _read_with(lab, session, stolen)


def replayed_adverts(lab: Lab) -> Gain:
    """Keys of an earlier session, whose private halves were stolen, are shown again in a new one."""
    lab.admit(lab.sites)
    old = Session(lab.stage, lab.context())
    old.advertise()
    stolen = old.private_keys(lab.positions(lab.others))
    new = Session(lab.stage, lab.context(2), {site: lab.admit_impostor(site) for site in lab.others})
    new.advertise()
    victim, *_ = lab.positions([lab.victim])
    shown = list(old.adverts)
    shown[victim] = new.adverts[victim]
    new.join(tuple(shown))
    return _read_with(lab, new, stolen)


def _read_with(lab: Lab, session: Session, private: dict[int, bytes]) -> Gain:
    victim = lab.positions([lab.victim])
    view = lab.view(session)
    view.begin(victim)
    view.upload(victim)
    view.read_with_keys(victim[0], private)
    return lab.recovered(view.total(victim))


def repeated_key(lab: Lab) -> Gain:
    """A colluding site advertises the victim's public keys as its own."""
    session, colluder = _advertised(lab)
    victim = Advert.decode(session.adverts[lab.positions([lab.victim])[0]])
    session.join(with_keys(lab, session, colluder, victim.mask_key, victim.share_key))
    return Gain(True, "a session with one key twice (no update: positions stand in every label)")


def low_order_key(lab: Lab) -> Gain:
    """A colluding site advertises points of low order: what it shares with others is known to everybody."""
    session, colluder = _advertised(lab)
    session.join(with_keys(lab, session, colluder, *LOW_ORDER))
    view, victim = lab.view(session), lab.positions([lab.victim])
    view.begin(victim)
    view.upload(victim)
    pair = (victim[0], lab.positions([colluder])[0])
    seed = PairChains.first(bytes(32), bytes(32), session.transcript, pair).seed(view.request.digest, pair)
    same = commitment(view.request.digest, seed, pair) == view.uploads[pair[0]].commitments[pair[1]]
    return Gain(same, "a pair seed of the victim that everybody knows, not only the site that colludes")


def _advertised(lab: Lab) -> tuple[Session, SiteId]:
    lab.admit(lab.sites)
    session = Session(lab.stage, lab.context())
    session.advertise()
    return session, lab.colluders[0]


def with_keys(lab: Lab, session: Session, site: SiteId, mask: bytes, share: bytes) -> tuple[bytes, ...]:
    """The list of adverts with other keys for a colluding site, signed by itself."""
    position = lab.positions([site])[0]
    identity = lab.stage.hospitals[site].spec.identity
    signature = identity.sign(ADVERT_PURPOSE, advert_statement(session.context.digest, position, mask, share))
    shown = list(session.adverts)
    shown[position] = Advert(position, mask, share, signature).encode()
    return tuple(shown)


CASES: Final = (
    Case(
        "swapped-key",
        "the session keys of all others are replaced by the coordinator's",
        swapped_key,
        "WR-1703",
        ("advert_signature",),
    ),
    Case(
        "swapped-own-key",
        "so are the victim's own, in the list that it is shown",
        swapped_own_key,
        "WR-1703",
        ("own_advert", "advert_signature"),
    ),
    Case(
        "replayed-adverts",
        "stolen session keys are shown again in a later session",
        replayed_adverts,
        "WR-1703",
        ("advert_signature",),
    ),
    Case(
        "repeated-key",
        "a colluding site advertises the victim's keys",
        repeated_key,
        "WR-1703",
        ("distinct_keys",),
        setting=Setting.with_one,
    ),
    Case(
        "low-order-key",
        "a colluding site advertises keys with which every agreement gives zeros",
        low_order_key,
        "WR-1703",
        (FULL_ORDER,),
        setting=Setting.with_one,
    ),
)
