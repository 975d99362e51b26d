"""Every rule of a site about sessions, and that an honest run meets all rules there are.

A refusal changes nothing, and what the rule lets pass is shown beside it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.secagg import Consortium

from wardround.common.crypto.agreement import AgreementKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.secagg.messages import Advert, advert_statement, decode_adverts, encode_adverts
from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.site_checks import ADVERT_PURPOSE, CONFIRM_PURPOSE, SiteChecks

if TYPE_CHECKING:
    from wardround.common.secagg.context import SessionContext
    from wardround.common.secagg.coordinator_session import CoordinatorSession

VICTIM, POSITION = SiteId("s01"), 1
RULES = [name for name in vars(SiteChecks) if not name.startswith("_")]


def keys_of(*sites: str) -> str:
    """What sessions of the fake consortium, which always makes the same keys, say of these members."""
    return Consortium(5).roster.entries_hash(SiteId(site) for site in sites)


def session_context(consortium: Consortium) -> SessionContext:
    return consortium.offered().context


FIRST_FOUR = keys_of("s00", "s01", "s02", "s03")

# Step 1


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"study": "sha256:" + "6" * 64}, "WR-1705"),
        ({"run": "run-2"}, "WR-1705"),
        ({"settings": bytes(32)}, "WR-1705.*another seed or fold"),
        ({"consortium": "another"}, "WR-1702"),
        ({"members": "sha256:" + "0" * 64}, "WR-1702.*other keys of its members"),
        ({"cohort": ("s01", "s00", "s02", "s03", "s04")}, "WR-1704.*not sorted"),
        ({"cohort": ("s00", "s01", "s01", "s02", "s03")}, "WR-1704.*twice"),
        ({"cohort": ("s00", "s02", "s03", "s04")}, "WR-1704.*s01"),
        ({"cohort": ("s00", "s01", "s02", "s03")}, "WR-1702.*other keys of its members"),
        ({"cohort": ("s00", "s01", "s02", "s03", "stranger")}, "WR-1702.*stranger"),
        ({"cohort": ("s01",), "members": keys_of("s01"), "threshold": 1, "colluding": 0}, "WR-1704"),
        (
            {"cohort": ("s00", "s01"), "members": keys_of("s00", "s01"), "threshold": 2, "colluding": 0},
            "WR-1704.*3 to 128",
        ),
        ({"colluding": 0, "threshold": 3}, "WR-1704.*allows for 0 colluding sites; 1 are needed"),
        ({"colluding": 4}, "WR-1704.*at most 3 may collude"),
        ({"threshold": 3}, "WR-1704.*threshold is 3; this site computes 4"),
        ({"threshold": 5}, "WR-1704.*threshold is 5; this site computes 4"),
        ({"threshold": 1}, "WR-1704.*threshold is 1; this site computes 4"),
        ({"strength": Strength.SEMI_HONEST, "threshold": 3}, "WR-1704.*semi-honest; the study says active"),
    ],
)
def test_a_session_as_it_should_not_be(change: dict[str, Any], refusal: str) -> None:
    consortium = Consortium(5)
    honest = session_context(consortium)
    with pytest.raises(WardroundError, match=refusal):
        consortium.sites[VICTIM].advertise(replace(honest, **change).encode())
    assert consortium.stores[VICTIM].records == {}
    consortium.sites[VICTIM].advertise(honest.encode())


def test_more_colluding_sites_and_fewer_sites_than_the_study_are_fine_within_the_terms() -> None:
    consortium = Consortium(5)
    context = session_context(consortium)
    assert consortium.sites[VICTIM].advertise(replace(context, colluding=2).encode())  # t = (5 + 2) // 2 + 1 = 4, too
    smaller = replace(context, session=2, cohort=context.cohort[:4], members=FIRST_FOUR, threshold=3)
    assert consortium.sites[VICTIM].advertise(smaller.encode())


def test_the_sites_own_policy_bounds_the_cohort() -> None:
    consortium = Consortium(5)
    consortium.terms = replace(consortium.terms, smallest_cohort=5)
    site = consortium.restart(VICTIM)
    context = session_context(consortium)
    with pytest.raises(WardroundError, match=r"WR-1712.*has 4 sites; this site's policy asks for 5"):
        site.advertise(replace(context, cohort=context.cohort[:4], members=FIRST_FOUR, threshold=3).encode())
    site.advertise(context.encode())


def test_a_member_of_the_roster_that_is_no_site_of_the_study_stays_out() -> None:
    consortium = Consortium(5)
    consortium.terms = replace(consortium.terms, sites=frozenset(consortium.names[:4]))
    site, context = consortium.restart(VICTIM), session_context(consortium)
    with pytest.raises(WardroundError, match=r"WR-1704.*Not training sites of the study: s04"):
        site.advertise(context.encode())
    site.advertise(replace(context, cohort=context.cohort[:4], members=FIRST_FOUR, threshold=3).encode())


def test_sessions_only_go_up() -> None:
    consortium = Consortium(3)
    site, context = consortium.sites[VICTIM], session_context(consortium)
    advert = site.advertise(replace(context, session=5).encode())
    for older in (1, 4):
        with pytest.raises(WardroundError, match=rf"WR-1706.*{older} is not newer than session 5"):
            site.advertise(replace(context, session=older).encode())
    assert site.advertise(replace(context, session=5).encode()) == advert
    assert site.advertise(replace(context, session=6).encode()) != advert


# Step 2


def gathered(consortium: Consortium) -> tuple[CoordinatorSession, list[bytes]]:
    session = consortium.offered()
    for name in consortium.names:
        session.receive_advert(name, consortium.sites[name].advertise(session.offer()))
    return session, list(decode_adverts(session.adverts(), len(consortium.names)))


def signed_advert(
    consortium: Consortium, session: CoordinatorSession, position: int, keys: tuple[bytes, bytes]
) -> bytes:
    """An advert that is truly signed by the site at this position: it lies."""
    statement = advert_statement(session.context.digest, position, *keys)
    signature = consortium.identities[consortium.names[position]].sign(ADVERT_PURPOSE, statement)
    return Advert(position, *keys, signature).encode()


@pytest.mark.parametrize("place", ["own", "peer"])
def test_a_swapped_key_is_refused(place: str) -> None:
    consortium = Consortium(4)
    _, adverts = gathered(consortium)
    honest = encode_adverts(tuple(adverts))
    at = POSITION if place == "own" else 2
    advert = Advert.decode(adverts[at])
    foreign = AgreementKey.generate(consortium.random).public
    for swapped in (replace(advert, mask_key=foreign), replace(advert, share_key=foreign)):
        adverts[at] = swapped.encode()
        with pytest.raises(WardroundError, match=r"WR-1703.*own keys" if place == "own" else r"WR-1703.*s02"):
            consortium.sites[VICTIM].join(encode_adverts(tuple(adverts)))
    consortium.sites[VICTIM].join(honest)


def test_two_adverts_that_change_places_are_refused() -> None:
    consortium = Consortium(4)
    _, adverts = gathered(consortium)
    adverts[2], adverts[3] = adverts[3], adverts[2]
    with pytest.raises(WardroundError, match=r"WR-1703.*s02"):
        consortium.sites[VICTIM].join(encode_adverts(tuple(adverts)))


def test_an_advert_of_another_session_is_refused() -> None:
    consortium = Consortium(4)
    _, old = gathered(consortium)
    session = consortium.offered(2)
    adverts = [consortium.sites[name].advertise(session.offer()) for name in consortium.names]
    with pytest.raises(WardroundError, match=r"WR-1703.*s02"):
        consortium.sites[VICTIM].join(encode_adverts((*adverts[:2], old[2], adverts[3])))
    consortium.sites[VICTIM].join(encode_adverts(tuple(adverts)))


def test_an_advert_signed_for_another_purpose_or_by_another_key_is_refused() -> None:
    consortium = Consortium(4)
    session, adverts = gathered(consortium)
    advert = Advert.decode(adverts[2])
    statement = advert_statement(session.context.digest, 2, advert.mask_key, advert.share_key)
    for signature in (
        consortium.identities[consortium.names[2]].sign(CONFIRM_PURPOSE, statement),
        consortium.identities[consortium.names[3]].sign(ADVERT_PURPOSE, statement),
    ):
        forged = replace(advert, signature=signature).encode()
        with pytest.raises(WardroundError, match=r"WR-1703.*s02"):
            consortium.sites[VICTIM].join(encode_adverts((*adverts[:2], forged, adverts[3])))


def test_a_key_that_stands_twice_is_refused() -> None:
    consortium = Consortium(4)
    session, adverts = gathered(consortium)
    own, peer = Advert.decode(adverts[POSITION]), Advert.decode(adverts[2])
    for keys in (
        (own.mask_key, peer.share_key),
        (peer.mask_key, own.mask_key),
        (peer.mask_key, peer.mask_key),
        (Advert.decode(adverts[3]).share_key, peer.share_key),
    ):
        lying = signed_advert(consortium, session, 2, keys)
        with pytest.raises(WardroundError, match=r"WR-1703.*same session key"):
            consortium.sites[VICTIM].join(encode_adverts((*adverts[:2], lying, adverts[3])))


@pytest.mark.parametrize("low", [bytes(32), b"\x01" + bytes(31)])
def test_a_key_of_low_order_is_refused(low: bytes) -> None:
    consortium = Consortium(4)
    session, adverts = gathered(consortium)
    peer = Advert.decode(adverts[2])
    for keys in ((low, peer.share_key), (peer.mask_key, low)):
        lying = signed_advert(consortium, session, 2, keys)
        with pytest.raises(WardroundError, match=r"WR-1703.*s02 are not points of full order"):
            consortium.sites[VICTIM].join(encode_adverts((*adverts[:2], lying, adverts[3])))
    truthful = signed_advert(consortium, session, 2, (peer.mask_key, peer.share_key))
    consortium.sites[VICTIM].join(encode_adverts((*adverts[:2], truthful, adverts[3])))


def test_a_session_is_joined_with_one_list_of_adverts() -> None:
    consortium = Consortium(4)
    session, adverts = gathered(consortium)
    joined = consortium.sites[VICTIM].join(encode_adverts(tuple(adverts)))
    mask, share = (AgreementKey.generate(consortium.random).public for _ in range(2))
    other = signed_advert(consortium, session, 2, (mask, share))
    with pytest.raises(WardroundError, match=r"WR-1706.*joined with other adverts"):
        consortium.sites[VICTIM].join(encode_adverts((*adverts[:2], other, adverts[3])))
    assert consortium.sites[VICTIM].join(encode_adverts(tuple(adverts))) == joined


# All of them


def test_every_rule_is_one_that_some_message_meets() -> None:
    met: set[str] = set()

    class Watched(SiteChecks):
        def __getattribute__(self, name: str) -> Any:
            met.add(name)
            return super().__getattribute__(name)

    consortium = Consortium(4, checks=Watched())
    session = consortium.session()
    coordinator = consortium.attempt(session, consortium.context(session))
    for name in consortium.names:
        coordinator.receive_upload(name, *consortium.upload(name, coordinator, consortium.update(name)))
    for name, request in coordinator.close_uploads().items():
        coordinator.receive_confirmation(name, consortium.sites[name].confirm(request))
    for name, request in coordinator.close_confirmations().items():
        consortium.sites[name].open(request)
    assert set(RULES) <= met
