"""Every rule of a site about rounds, survivor sets and openings.

A refusal changes nothing, and what the rule lets pass is shown beside it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.secagg import Consortium

from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.roster import Member, Roster
from wardround.common.secagg.messages import ConfirmRequest, OpenRequest
from wardround.common.secagg.site_checks import ADVERT_PURPOSE, CONFIRM_PURPOSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.common.secagg.context import RoundContext
    from wardround.common.secagg.coordinator_session import CoordinatorSession

VICTIM, POSITION = SiteId("s01"), 1


# Step 3


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"transcript": bytes(32)}, "WR-1706.*another session"),
        ({"layout": bytes(32)}, "WR-1705.*: model layout"),
        ({"encoding": bytes(32)}, "WR-1705.*: clipping bounds and scales"),
        ({"ring_bits": 32}, "WR-1705.*: ring"),
        ({"weight_cap": 2}, "WR-1705.*: weight cap"),
        ({"layout": bytes(32), "weight_cap": 0}, "WR-1705.*: model layout, weight cap"),
        ({"round": 0}, "WR-1705.*Round 0"),
        ({"round": 11}, "WR-1705.*Round 11 is not one of the study's 10"),
        ({"attempt": 0}, "WR-1705"),
        ({"model": bytes(32)}, "WR-1705.*model that arrived"),
    ],
)
def test_a_round_as_it_should_not_be(change: dict[str, Any], refusal: str) -> None:
    consortium = Consortium(4)
    context = consortium.context(consortium.session())
    before = dict(consortium.stores[VICTIM].records)
    with pytest.raises(WardroundError, match=refusal):
        consortium.sites[VICTIM].begin(replace(context, **change).encode(), context.model)
    assert consortium.stores[VICTIM].records == before
    consortium.sites[VICTIM].begin(context.encode(), context.model)


class Rounds:
    """A site that is asked for rounds, and whether it trains and uploads."""

    def __init__(self) -> None:
        self.consortium = Consortium(4)
        self.session = self.consortium.session()

    def begin(self, number: int, attempt: int, model: int) -> RoundContext:
        context = self.consortium.context(self.session, number, attempt, model)
        self.consortium.sites[VICTIM].begin(context.encode(), context.model)
        return context

    def upload(self, number: int, attempt: int, model: int) -> None:
        self.begin(number, attempt, model)
        coordinator = self.consortium.attempt(
            self.session, self.consortium.context(self.session, number, attempt, model)
        )
        self.consortium.upload(VICTIM, coordinator, self.consortium.update(number))

    def next_session(self) -> None:
        self.session = self.consortium.session(self.session.context.session + 1)

    def refuses(self, number: int, attempt: int, model: int, refusal: str) -> None:
        with pytest.raises(WardroundError, match=refusal):
            self.begin(number, attempt, model)


def test_attempts_and_rounds_only_go_up() -> None:
    rounds = Rounds()
    first = rounds.begin(1, 3, model=1)
    rounds.refuses(1, 2, 1, "WR-1706.*Attempt 2 of round 1 is not newer than attempt 3")
    rounds.refuses(1, 3, 2, "WR-1706.*Attempt 3 of round 1 is not newer")
    assert rounds.begin(1, 3, model=1) == first
    rounds.begin(1, 7, model=1)
    rounds.refuses(1, 3, 1, "WR-1706")
    rounds.begin(4, 1, model=4)
    rounds.refuses(3, 9, 3, "WR-1706.*Round 3 is over; this site is at round 4")
    rounds.begin(4, 2, model=4)


def test_a_round_has_one_model() -> None:
    rounds = Rounds()
    rounds.upload(1, 1, model=1)
    rounds.refuses(1, 2, 2, "WR-1705.*Round 1 began on another model")
    rounds.next_session()
    rounds.refuses(1, 1, 2, "WR-1705.*Round 1 began on another model")
    rounds.begin(2, 1, model=2)


def test_a_model_is_masked_in_one_round_of_one_session() -> None:
    rounds = Rounds()
    rounds.upload(1, 1, model=1)
    rounds.upload(1, 2, model=1)
    rounds.refuses(2, 1, 1, "WR-1707.*session 1, round 1")
    rounds.next_session()
    rounds.refuses(1, 1, 1, "WR-1707.*session 1, round 1")
    rounds.refuses(2, 1, 1, "WR-1707.*session 1, round 1")
    rounds.upload(2, 1, model=2)


def test_a_model_whose_update_never_left_may_be_masked_in_a_newer_session() -> None:
    rounds = Rounds()
    rounds.begin(1, 1, model=1)
    rounds.next_session()
    rounds.upload(1, 1, model=1)


def test_a_newer_session_does_not_go_back_to_an_earlier_round() -> None:
    """Else a coordinator could have every round's update computed again, on other models."""
    rounds = Rounds()
    rounds.upload(3, 1, model=3)
    rounds.next_session()
    rounds.refuses(1, 1, 1, "WR-1706.*Round 1 is over; this site is at round 3")
    rounds.refuses(3, 1, 4, "WR-1705.*Round 3 began on another model")
    rounds.upload(4, 1, model=4)


# Steps 4 and 5


class Asked:
    """A cohort of five (k = 1, t = 4, at least 4 in a sum) that uploaded, and what the victim is asked then."""

    def __init__(
        self, earlier: Asked | None = None, *, attempt: int = 1, uploaded: tuple[int, ...] = (0, 1, 2, 3, 4)
    ) -> None:
        self.consortium: Consortium = earlier.consortium if earlier else Consortium(5)
        self.session: CoordinatorSession = earlier.session if earlier else self.consortium.session()
        self.context = self.consortium.context(self.session, attempt=attempt)
        self.coordinator = self.consortium.attempt(self.session, self.context)
        for name in (self.consortium.names[position] for position in uploaded):
            sent = self.consortium.upload(name, self.coordinator, self.consortium.update(name))
            self.coordinator.receive_upload(name, *sent)
        self.confirms = self.coordinator.close_uploads()

    @property
    def honest(self) -> ConfirmRequest:
        return ConfirmRequest.decode(self.confirms[VICTIM], 5)

    def confirm(self, request: ConfirmRequest) -> bytes:
        return self.consortium.sites[VICTIM].confirm(request.encode(5))

    def certified(self) -> OpenRequest:
        for name, request in self.confirms.items():
            self.coordinator.receive_confirmation(name, self.consortium.sites[name].confirm(request))
        return OpenRequest.decode(self.coordinator.close_confirmations()[VICTIM], 5)

    def open(self, request: OpenRequest) -> bytes:
        return self.consortium.sites[VICTIM].open(request.encode(5))


def without(request: ConfirmRequest, *left_out: int) -> ConfirmRequest:
    survivors = tuple(position for position in request.survivors.sites if position not in left_out)
    packets = {sender: packet for sender, packet in request.packets.items() if sender in survivors}
    return ConfirmRequest(replace(request.survivors, sites=survivors), packets)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda asked: without(asked, 0, 2), "WR-1708.*has 3 sites; at least 4"),
        (lambda asked: without(asked, 0, 1, 2, 3, 4), "WR-1708.*has 0 sites"),
        (lambda asked: replace(asked, survivors=replace(asked.survivors, context=bytes(32))), "WR-1706.*newest"),
        (lambda asked: replace(asked, packets={}), "WR-1709.*not those of the survivor set"),
        (lambda asked: replace(asked, packets=dict(list(asked.packets.items())[1:])), "WR-1709.*not those"),
        (lambda asked: replace(asked, packets={**asked.packets, 1: asked.packets[0]}), "WR-1709.*not those"),
        (lambda asked: replace(without(asked, 0), packets=asked.packets), "WR-1709.*not those"),
        (lambda asked: replace(asked, packets={**asked.packets, 0: asked.packets[2]}), "WR-1709.*packet of s00"),
        (lambda asked: replace(asked, packets={**asked.packets, 3: bytes(5 * 33 + 32)}), "WR-1709.*packet of s03"),
    ],
)
def test_a_survivor_set_as_it_should_not_be(change: Callable[[ConfirmRequest], ConfirmRequest], refusal: str) -> None:
    asked = Asked()
    with pytest.raises(WardroundError, match=refusal):
        asked.confirm(change(asked.honest))
    asked.confirm(asked.honest)


def test_the_study_may_ask_for_more_sites_in_a_sum_than_the_protocol() -> None:
    asked = Asked()
    asked.consortium.terms = replace(asked.consortium.terms, smallest_sum=5)
    asked.consortium.restart(VICTIM)
    with pytest.raises(WardroundError, match=r"WR-1708.*has 4 sites; at least 5"):
        asked.confirm(without(asked.honest, 4))
    asked.confirm(asked.honest)


def test_a_session_is_gone_on_with_under_the_terms_and_roster_that_it_began_with() -> None:
    asked = Asked()
    for change in ({"study": StudyId("sha256:" + "6" * 64)}, {"run": StudyRunId("run-2")}, {"settings": bytes(32)}):
        asked.consortium.terms, honest = replace(asked.consortium.terms, **change), asked.consortium.terms
        asked.consortium.restart(VICTIM)
        with pytest.raises(WardroundError, match="WR-1705"):
            asked.confirm(asked.honest)
        asked.consortium.terms = honest
    asked.consortium.restart(VICTIM)
    asked.confirm(asked.honest)


FOREIGN = Member(key=SigningKey(b"f" * 32).public.hex())
PEER, NEWCOMER = SiteId("s03"), SiteId("newcomer")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda old: old | {PEER: FOREIGN}, "WR-1702.*other keys of its members"),
        (lambda old: old | {VICTIM: FOREIGN}, "WR-1702.*other keys of its members"),
        (lambda old: old | {PEER: FOREIGN, NEWCOMER: old[PEER]}, "WR-1702.*other keys of its members"),
        (lambda old: old | {PEER: old[VICTIM], VICTIM: old[PEER]}, "WR-1702.*other keys of its members"),
        (lambda old: {site: member for site, member in old.items() if site != PEER}, "WR-1702.*s03 is not in"),
        (lambda old: old | {NEWCOMER: FOREIGN}, None),
        (lambda old: old | {PEER: Member(key=old[PEER].key, label="Another label")}, None),
    ],
)
def test_a_session_rests_on_the_keys_of_its_own_members(
    change: Callable[[dict[SiteId, Member]], dict[SiteId, Member]], refusal: str | None
) -> None:
    asked = Asked()
    old = asked.consortium.roster
    asked.consortium.roster = Roster(consortium=old.consortium, version=2, members=change(dict(old.members)))
    asked.consortium.restart(VICTIM)
    if refusal is not None:
        with pytest.raises(WardroundError, match=refusal):
            asked.confirm(asked.honest)
        asked.consortium.roster = old
        asked.consortium.restart(VICTIM)
    asked.confirm(asked.honest)


def test_a_set_without_this_site_is_confirmed_too() -> None:
    asked = Asked()
    assert asked.confirm(without(asked.honest, POSITION))


def test_a_site_that_did_not_upload_is_in_no_survivor_set() -> None:
    asked = Asked(uploaded=(0, 2, 3, 4))
    site = asked.consortium.sites[VICTIM]
    site.begin(asked.context.encode(), asked.context.model)
    others = ConfirmRequest.decode(asked.confirms[asked.consortium.names[0]], 5)
    claimed = replace(others.survivors, sites=(0, 1, 2, 3, 4))
    with pytest.raises(WardroundError, match=r"WR-1708.*names this site, which has not uploaded"):
        asked.confirm(ConfirmRequest(claimed, {}))


@pytest.mark.parametrize("other", ["survivors", "head"])
def test_one_signature_an_attempt(other: str) -> None:
    asked = Asked()
    signed = asked.confirm(asked.honest)
    second = without(asked.honest, 4)
    if other == "head":
        second = replace(asked.honest, survivors=replace(asked.honest.survivors, head=bytes(32)))
    for _ in range(2):
        with pytest.raises(WardroundError, match=r"WR-1708.*another survivor set, or log head"):
            asked.confirm(second)
        asked.consortium.restart(VICTIM)
    assert asked.confirm(asked.honest) == signed


def test_nothing_is_opened_that_was_not_confirmed_here() -> None:
    asked = Asked()
    unsigned = OpenRequest(asked.honest.survivors, {}, {})
    with pytest.raises(WardroundError, match=r"WR-1706.*not confirmed a survivor set"):
        asked.open(unsigned)
    certified = asked.certified()
    for other in (
        replace(certified.survivors, sites=(0, 1, 2, 3)),
        replace(certified.survivors, head=bytes(32)),
    ):
        with pytest.raises(WardroundError, match=r"WR-1708.*not the one that this site confirmed"):
            asked.open(replace(certified, survivors=other))
    assert asked.open(certified)


def test_t_genuine_signatures_open_and_nothing_less() -> None:
    asked = Asked()
    certified = asked.certified()
    signatures = dict(certified.signatures)
    some = {position: signatures[position] for position in (0, 1, 2)}
    for refused, refusal in [
        ({}, "WR-1708.*0 sites confirmed the survivor set; 4 are needed"),
        (some, "WR-1708.*3 sites confirmed"),
        ({**some, 4: signatures[3]}, "WR-1703.*confirmation of s04"),
        ({**signatures, 2: bytes(64)}, "WR-1703.*confirmation of s02"),
    ]:
        with pytest.raises(WardroundError, match=refusal):
            asked.open(replace(certified, signatures=refused))
    assert asked.open(replace(certified, signatures={**some, 3: signatures[3]})) == asked.open(certified)


def test_signatures_of_another_purpose_or_attempt_do_not_open() -> None:
    asked = Asked()
    certified = asked.certified()
    statement = certified.survivors.statement()
    key = asked.consortium.identities[asked.consortium.names[0]]
    earlier = replace(certified.survivors, context=bytes(32)).statement()
    for forged in (key.sign(ADVERT_PURPOSE, statement), key.sign(CONFIRM_PURPOSE, earlier)):
        with pytest.raises(WardroundError, match=r"WR-1703.*s00"):
            asked.open(replace(certified, signatures={**certified.signatures, 0: forged}))
    genuine = key.sign(CONFIRM_PURPOSE, statement)
    assert asked.open(replace(certified, signatures={**certified.signatures, 0: genuine}))


def test_a_model_opens_one_survivor_set() -> None:
    first = Asked()
    opened = first.open(first.certified())
    fewer = Asked(first, attempt=2, uploaded=(0, 1, 2, 3))
    certified = fewer.certified()
    for _ in range(2):
        with pytest.raises(WardroundError, match=r"WR-1707.*over other sites was already opened"):
            fewer.open(certified)
        first.consortium.restart(VICTIM)
    same = Asked(first, attempt=3)
    assert same.open(same.certified()) != opened  # other seeds, the same sum
