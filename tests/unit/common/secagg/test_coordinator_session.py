"""The coordinator gathers adverts and joins of the cohort that it offered, in any order, and of nobody else."""

from __future__ import annotations

import pytest
from fakes.secagg import RUN, SETTINGS, STUDY, Consortium
from fakes.secagg_run import VICTIM

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.secagg.coordinator_session import CoordinatorSession, offer
from wardround.common.secagg.messages import Advert, Joined
from wardround.common.secagg.parameters import Strength, Threshold

OTHER, STRANGER = SiteId("s02"), SiteId("s99")


@pytest.fixture
def consortium() -> Consortium:
    return Consortium(4)


def advertised(consortium: Consortium) -> CoordinatorSession:
    session = consortium.offered()
    for name in reversed(consortium.names):
        session.receive_advert(name, consortium.sites[name].advertise(session.offer()))
    return session


def test_an_offer_names_the_cohort_in_order_and_its_threshold(consortium: Consortium) -> None:
    sizes = Threshold(4, 1, Strength.ACTIVE)
    context = offer(
        consortium.roster, STUDY, RUN, settings=SETTINGS, session=3, cohort=consortium.names[::-1], sizes=sizes
    )
    assert context.cohort == ("s00", "s01", "s02", "s03")
    assert (context.session, context.colluding, context.threshold) == (3, 1, 3)
    assert (context.consortium, context.members) == ("hospitals", consortium.roster.entries_hash(consortium.names))


def test_no_offer_to_strangers_or_to_another_number_of_sites(consortium: Consortium) -> None:
    sizes = Threshold(4, 1, Strength.ACTIVE)
    with pytest.raises(WardroundError, match=r"WR-1702.*s99"):
        offer(
            consortium.roster,
            STUDY,
            RUN,
            settings=SETTINGS,
            session=1,
            cohort=(*consortium.names[:3], STRANGER),
            sizes=sizes,
        )
    for cohort in (consortium.names[:3], (*consortium.names[:3], consortium.names[0])):
        with pytest.raises(ValueError, match="differ, or a site stands in it twice"):
            offer(consortium.roster, STUDY, RUN, settings=SETTINGS, session=1, cohort=cohort, sizes=sizes)


def test_who_is_missing_is_told_by_name(consortium: Consortium) -> None:
    session = consortium.offered()
    assert session.silent == consortium.names
    session.receive_advert(OTHER, consortium.sites[OTHER].advertise(session.offer()))
    assert session.silent == ("s00", "s01", "s03")
    for ask in (session.adverts, lambda: session.transcript):
        with pytest.raises(RuntimeError, match="adverts are missing"):
            ask()


def test_everybody_joins_one_transcript(consortium: Consortium) -> None:
    session = advertised(consortium)
    assert session.silent == ()
    for name in consortium.names:
        assert name in session.outside
        joined = consortium.sites[name].join(session.adverts())
        assert Joined.decode(joined).transcript == session.transcript
        for _ in range(2):
            session.receive_joined(name, joined)
    assert session.outside == ()


def test_an_advert_in_another_name_or_with_another_signature_is_refused(consortium: Consortium) -> None:
    session = consortium.offered()
    advert = consortium.sites[VICTIM].advertise(session.offer())
    with pytest.raises(WardroundError, match=r"WR-1703.*s02"):
        session.receive_advert(OTHER, advert)
    renamed = Advert.decode(advert)
    with pytest.raises(WardroundError, match=r"WR-1703.*s02"):
        session.receive_advert(OTHER, Advert(2, renamed.mask_key, renamed.share_key, renamed.signature).encode())
    with pytest.raises(WardroundError, match=r"WR-1704.*s99"):
        session.receive_advert(STRANGER, advert)
    session.receive_advert(VICTIM, advert)
    assert session.silent == ("s00", "s02", "s03")


def test_an_advert_of_another_session_is_refused(consortium: Consortium) -> None:
    old = consortium.sites[VICTIM].advertise(consortium.offered(1).offer())
    session = consortium.offered(2)
    with pytest.raises(WardroundError, match=r"WR-1703.*s01"):
        session.receive_advert(VICTIM, old)
    session.receive_advert(VICTIM, consortium.sites[VICTIM].advertise(session.offer()))


def test_a_second_advert_is_taken_only_if_it_is_the_first_one_again(consortium: Consortium) -> None:
    session = consortium.offered()
    advert = consortium.sites[VICTIM].advertise(session.offer())
    session.receive_advert(VICTIM, advert)
    session.receive_advert(VICTIM, advert)
    consortium.stores[VICTIM].records.clear()  # a site that lost its home folder makes other keys
    another = consortium.restart(VICTIM).advertise(session.offer())
    with pytest.raises(WardroundError, match=r"WR-1701.*second, different advert"):
        session.receive_advert(VICTIM, another)


def test_who_joins_too_early_or_another_session_is_refused(consortium: Consortium) -> None:
    session = consortium.offered()
    session.receive_advert(VICTIM, consortium.sites[VICTIM].advertise(session.offer()))
    early = Joined(1, bytes(32)).encode()
    with pytest.raises(WardroundError, match=r"WR-1706.*s01 joined before the adverts"):
        session.receive_joined(VICTIM, early)
    session = advertised(consortium)
    joined = consortium.sites[VICTIM].join(session.adverts())
    for wrong in (early, Joined(2, session.transcript).encode()):
        with pytest.raises(WardroundError, match=r"WR-1703.*s01 joined another session"):
            session.receive_joined(VICTIM, wrong)
    with pytest.raises(WardroundError, match=r"WR-1704.*s99"):
        session.receive_joined(STRANGER, joined)
    assert VICTIM in session.outside
    session.receive_joined(VICTIM, joined)
    assert VICTIM not in session.outside
