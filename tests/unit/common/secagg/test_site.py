"""What a site keeps, repeats, erases and says; its rules stand in test_site_checks, their order in test_site_order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.secagg import Consortium, Silence, plain_sum, run_attempt

from wardround.common.crypto.signing import verify
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.secagg.explain import CLOSED, SHARED
from wardround.common.secagg.masks import add_masks
from wardround.common.secagg.messages import (
    Advert,
    AttemptEnded,
    Confirmation,
    ConfirmRequest,
    Opening,
    OpenRequest,
    Stage,
    advert_statement,
)
from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.site_checks import ADVERT_PURPOSE, CONFIRM_PURPOSE
from wardround.common.secagg.site_records import (
    ATTEMPT,
    LEFT,
    SESSION,
    UPDATE,
    SessionRecord,
    UpdateRecord,
    model_record,
)

if TYPE_CHECKING:
    from wardround.common.secagg.coordinator_attempt import CoordinatorAttempt
    from wardround.common.secagg.coordinator_session import CoordinatorSession

VICTIM, POSITION = SiteId("s01"), 1


def attempt_of(
    consortium: Consortium, session: CoordinatorSession, attempt: int = 1, number: int = 1
) -> CoordinatorAttempt:
    return consortium.attempt(session, consortium.context(session, number, attempt, model=number))


def uploaded(consortium: Consortium, coordinator: CoordinatorAttempt, *silent: SiteId) -> None:
    for name in consortium.names:
        if name not in silent:
            sent = consortium.upload(name, coordinator, consortium.update(name))
            coordinator.receive_upload(name, *sent)


# Steps 1 and 2


def test_an_advert_is_signed_with_the_identity_key_for_this_purpose_alone() -> None:
    consortium = Consortium(3)
    session = consortium.offered()
    advert = Advert.decode(consortium.sites[VICTIM].advertise(session.offer()))
    statement = advert_statement(session.context.digest, POSITION, advert.mask_key, advert.share_key)
    public = consortium.identities[VICTIM].public
    assert verify(public, ADVERT_PURPOSE, statement, advert.signature)
    assert not verify(public, CONFIRM_PURPOSE, statement, advert.signature)
    assert not verify(consortium.identities[SiteId("s00")].public, ADVERT_PURPOSE, statement, advert.signature)


def test_private_session_keys_are_erased_once_the_chains_exist() -> None:
    consortium = Consortium(3)
    session = consortium.offered()
    for name in consortium.names:
        session.receive_advert(name, consortium.sites[name].advertise(session.offer()))
    store = consortium.stores[VICTIM]
    private = SessionRecord.decode(store.records[SESSION]).private
    assert len(private) == 64
    assert private[:32] in store.records[SESSION]
    consortium.sites[VICTIM].join(session.adverts())
    assert SessionRecord.decode(store.records[SESSION]).private == b""
    assert not any(half in store.records[SESSION] for half in (private[:32], private[32:]))


def test_sites_that_skip_rounds_stay_in_step() -> None:
    consortium = Consortium(4)
    session = consortium.session()
    for number, silent in [(1, "s00"), (2, "s00"), (5, "s03"), (6, "s00"), (10, "s02")]:
        coordinator = attempt_of(consortium, session, number=number)
        updates = {name: consortium.update((name, number)) for name in consortium.names}
        outcome = run_attempt(consortium, coordinator, updates, {SiteId(silent): Silence.BEGIN})
        assert outcome.total is not None
        assert outcome.total.tolist() == plain_sum([updates[name] for name in outcome.survivors], 16)


# Step 3


def test_the_mask_is_the_signed_sum_of_the_seeds_and_hides_the_update() -> None:
    consortium = Consortium(3, size=4000)
    coordinator = attempt_of(consortium, consortium.session())
    _, masked = consortium.upload(VICTIM, coordinator, consortium.update(7))
    attempt = consortium.sites[VICTIM].begin(coordinator.request(), coordinator.context.model)
    assert [sign for _, sign in attempt.seeds] == [-1, 1, 1]  # subtracted towards s00, added for itself and s02
    masks = np.zeros(4000, dtype=np.uint16)
    add_masks(masks, attempt.seeds)
    assert np.array_equal(masked - masks, consortium.update(7))
    assert np.count_nonzero(masked == consortium.update(7)) < 5
    for left_out in range(3):  # whoever lacks one seed sees nothing
        partly = masked.copy()
        add_masks(partly, [(seed, -sign) for at, (seed, sign) in enumerate(attempt.seeds) if at != left_out])
        assert np.count_nonzero(partly == consortium.update(7)) < 5


def test_an_update_is_computed_once_and_masked_anew_by_every_attempt() -> None:
    consortium = Consortium(3)
    session, site = consortium.session(), consortium.sites[VICTIM]
    masked = []
    for attempt in (1, 2, 3):
        coordinator = attempt_of(consortium, session, attempt)
        assert site.begin(coordinator.request(), coordinator.context.model).computed is (attempt > 1)
        masked.append(consortium.upload(VICTIM, coordinator, consortium.update(attempt))[1].tolist())
        kept = np.empty(consortium.size, dtype=np.uint16)
        site.kept(kept)
        assert np.array_equal(kept, consortium.update(1))
        site = consortium.restart(VICTIM)
    assert masked[0] != masked[1] != masked[2] != masked[0]
    coordinator = attempt_of(consortium, session, number=2)
    assert not site.begin(coordinator.request(), coordinator.context.model).computed


def test_steps_that_the_caller_takes_out_of_order_are_its_mistake() -> None:
    consortium = Consortium(3)
    session, site = consortium.session(), consortium.sites[VICTIM]
    values = consortium.update(1)
    for step in (lambda: site.keep(values), lambda: site.kept(values), site.upload):
        with pytest.raises(RuntimeError, match="no attempt has begun"):
            step()
    coordinator = attempt_of(consortium, session)
    site.begin(coordinator.request(), coordinator.context.model)
    for early in (lambda: site.kept(values), site.upload):
        with pytest.raises(RuntimeError, match="not sealed yet"):
            early()
    site.keep(values)
    with pytest.raises(RuntimeError, match="sealed already"):
        site.keep(values)
    assert site.upload() == site.upload()


def test_an_upload_is_noted_for_good_and_once() -> None:
    consortium = Consortium(3)
    coordinator = attempt_of(consortium, consortium.session())
    name = model_record(coordinator.context.model)
    site, records = consortium.sites[VICTIM], consortium.stores[VICTIM].records
    site.begin(coordinator.request(), coordinator.context.model)
    site.keep(consortium.update(1))
    assert name not in records
    first = site.upload()
    noted, writes = records[name], consortium.stores[VICTIM].writes
    assert site.upload() == first
    assert (records[name], consortium.stores[VICTIM].writes) == (noted, writes)


# Steps 4 and 5


def test_a_confirmation_is_a_signature_over_the_survivor_set_for_this_purpose_alone() -> None:
    consortium = Consortium(4)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator)
    request = coordinator.close_uploads()[VICTIM]
    confirmation = Confirmation.decode(consortium.sites[VICTIM].confirm(request))
    statement = ConfirmRequest.decode(request, 4).survivors.statement()
    public = consortium.identities[VICTIM].public
    assert verify(public, CONFIRM_PURPOSE, statement, confirmation.signature)
    assert not verify(public, ADVERT_PURPOSE, statement, confirmation.signature)


def test_a_site_outside_the_survivor_set_may_help_to_open_it() -> None:
    """Its own update stays closed: it gives shares of others' secrets, never of its own self mask."""
    consortium = Consortium(4)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator, VICTIM)
    asked = coordinator.close_uploads()
    late, _ = consortium.upload(VICTIM, coordinator, consortium.update(VICTIM))
    assert late
    received = {sender: coordinator._packets[sender][POSITION] for sender in (0, 2, 3)}
    outside = ConfirmRequest(ConfirmRequest.decode(asked[SiteId("s00")], 4).survivors, received).encode(4)
    signed = {VICTIM: consortium.sites[VICTIM].confirm(outside)}
    signed |= {name: consortium.sites[name].confirm(asked[name]) for name in (SiteId("s00"), SiteId("s02"))}
    for name, message in signed.items():
        coordinator.receive_confirmation(name, message)
    for name, request in coordinator.close_confirmations().items():
        coordinator.receive_opening(name, consortium.sites[name].open(request))
    expected = plain_sum([consortium.update(name) for name in consortium.names if name != VICTIM], 16)
    assert coordinator.reveal().tolist() == expected


def test_an_opening_leaves_after_it_is_noted() -> None:
    consortium = Consortium(3)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator)
    for name, request in coordinator.close_uploads().items():
        coordinator.receive_confirmation(name, consortium.sites[name].confirm(request))
    request = coordinator.close_confirmations()[VICTIM]
    record = model_record(coordinator.context.model)
    before = consortium.stores[VICTIM].records[record]
    opening = consortium.sites[VICTIM].open(request)
    after, writes = consortium.stores[VICTIM].records[record], consortium.stores[VICTIM].writes
    assert after != before
    assert consortium.restart(VICTIM).open(request) == opening
    assert (consortium.stores[VICTIM].records[record], consortium.stores[VICTIM].writes) == (after, writes)


# Semi-honest


def test_a_semi_honest_site_prepares_and_opens_in_one_step() -> None:
    consortium = Consortium(5, strength=Strength.SEMI_HONEST)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator, SiteId("s04"))
    assert coordinator.close_uploads() == {}
    request = coordinator.close_confirmations()[VICTIM]
    asked = OpenRequest.decode(request, 5)
    assert (asked.signatures, sorted(asked.packets)) == ({}, [0, 2, 3])
    opening = consortium.sites[VICTIM].open(request)
    assert len(Opening.decode(opening, 5, 4).shares) == 33 * 4 * 2
    assert consortium.restart(VICTIM).open(request) == opening
    confirm = ConfirmRequest(asked.survivors, asked.packets).encode(5)
    with pytest.raises(WardroundError, match=r"WR-1706.*no such step in a session that is semi-honest"):
        consortium.sites[VICTIM].confirm(confirm)
    signed = OpenRequest(asked.survivors, {0: bytes(64)}, asked.packets).encode(5)
    with pytest.raises(WardroundError, match=r"WR-1701.*what no session that is semi-honest has"):
        consortium.sites[VICTIM].open(signed)
    fewer = OpenRequest(
        survivors=type(asked.survivors)(asked.survivors.context, (0, 1, 2), asked.survivors.head),
        signatures={},
        packets={sender: asked.packets[sender] for sender in (0, 2)},
    )
    with pytest.raises(WardroundError, match=r"WR-1708.*another survivor set"):
        consortium.sites[VICTIM].open(fewer.encode(5))


def test_an_active_site_opens_nothing_without_signatures_however_many_packets_come() -> None:
    consortium = Consortium(5)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator)
    asked = ConfirmRequest.decode(coordinator.close_uploads()[VICTIM], 5)
    with pytest.raises(WardroundError, match=r"WR-1701.*what no session that is active has"):
        consortium.sites[VICTIM].open(OpenRequest(asked.survivors, {}, asked.packets).encode(5))
    consortium.sites[VICTIM].confirm(asked.encode(5))
    with pytest.raises(WardroundError, match=r"WR-1708.*0 sites confirmed"):
        consortium.sites[VICTIM].open(OpenRequest(asked.survivors, {}, {}).encode(5))


# Leaving, damage, words


def test_a_site_that_leaves_keeps_no_secret_and_remembers_what_it_opened() -> None:
    consortium = Consortium(3)
    session = consortium.session()
    updates = {name: consortium.update(name) for name in consortium.names}
    assert run_attempt(consortium, attempt_of(consortium, session), updates).total is not None
    store = consortium.stores[VICTIM]
    opened = {name: record for name, record in store.records.items() if name.startswith("model/")}
    assert len(opened) == 1
    consortium.sites[VICTIM].leave()
    assert store.records == opened | {LEFT: b"\x01"}
    for site in (consortium.sites[VICTIM], consortium.restart(VICTIM)):
        for message in (session.offer(), consortium.offered(2).offer()):
            with pytest.raises(WardroundError, match=r"WR-1706.*left the study run for good"):
                site.advertise(message)
        site.leave()


def test_a_site_may_leave_a_run_before_its_first_session() -> None:
    consortium = Consortium(3)
    consortium.sites[VICTIM].advertise(consortium.offered(1).offer())
    consortium.sites[VICTIM].leave()
    with pytest.raises(WardroundError, match=r"WR-1706.*left the study run for good"):
        consortium.restart(VICTIM).advertise(consortium.offered(1).offer())


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, b"\xff" * 900])
@pytest.mark.parametrize("name", [SESSION, ATTEMPT, UPDATE])
def test_a_damaged_store_is_not_gone_on_with(name: str, damage: bytes) -> None:
    consortium = Consortium(3)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator)
    records = consortium.stores[VICTIM].records
    honest = records[name]
    records[name] = damage
    with pytest.raises(WardroundError, match="WR-1714"):
        consortium.restart(VICTIM)
    records[name] = honest
    assert consortium.restart(VICTIM).upload()


@pytest.mark.parametrize("lost", [SESSION, UPDATE])
def test_records_that_do_not_belong_together_are_not_gone_on_with(lost: str) -> None:
    consortium = Consortium(3)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator)
    del consortium.stores[VICTIM].records[lost]
    with pytest.raises(WardroundError, match=r"WR-1714.*do not belong together"):
        consortium.restart(VICTIM)


def test_a_sealed_update_that_is_missing_is_said_to_be() -> None:
    consortium = Consortium(3)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator)
    store = consortium.stores[VICTIM]
    assert UpdateRecord.decode(store.records[UPDATE]).key in store.vectors
    store.vectors.clear()
    with pytest.raises(WardroundError, match="WR-1714"):
        consortium.sites[VICTIM].kept(consortium.update(1))


@pytest.mark.parametrize("opened", [False, True])
def test_what_a_site_says_about_leakage_is_from_its_own_records(*, opened: bool) -> None:
    consortium = Consortium(4)
    coordinator = attempt_of(consortium, consortium.session())
    silent = dict.fromkeys(consortium.names[:3:2], Silence.OPEN)
    if not opened:
        silent[VICTIM] = Silence.OPEN
    outcome = run_attempt(consortium, coordinator, {name: consortium.update(name) for name in consortium.names}, silent)
    assert outcome.code == "WR-1711"
    words = consortium.restart(VICTIM).ended(coordinator.ended(Stage.OPEN))
    assert words.startswith("The coordinator says: Round 1, attempt 1: ")
    assert "at least 3 are needed; missing: s00, " in words
    assert words.endswith(SHARED if opened else CLOSED)
    assert "nobody learned" not in words  # a site cannot know that


def test_shares_of_an_earlier_attempt_on_the_model_count_in_what_a_site_says() -> None:
    consortium = Consortium(4)
    session = consortium.session()
    updates = {name: consortium.update(name) for name in consortium.names}
    silent = dict.fromkeys(consortium.names[2:], Silence.OPEN)
    assert run_attempt(consortium, attempt_of(consortium, session), updates, silent).code == "WR-1711"
    retry = attempt_of(consortium, session, attempt=2)
    assert (
        run_attempt(consortium, retry, updates, dict.fromkeys(consortium.names[2:], Silence.UPLOAD)).code == "WR-1711"
    )
    assert consortium.sites[VICTIM].ended(retry.ended(Stage.UPLOAD)).endswith(SHARED)
    assert consortium.sites[consortium.names[3]].ended(retry.ended(Stage.UPLOAD)).endswith(CLOSED)


def test_the_end_of_another_attempt_is_not_talked_about() -> None:
    consortium = Consortium(4)
    coordinator = attempt_of(consortium, consortium.session())
    uploaded(consortium, coordinator)
    with pytest.raises(WardroundError, match="WR-1706"):
        consortium.sites[VICTIM].ended(AttemptEnded(bytes(32), Stage.OPEN, 3, ()).encode())


def test_seeds_are_never_shown() -> None:
    consortium = Consortium(3)
    coordinator = attempt_of(consortium, consortium.session())
    attempt = consortium.sites[VICTIM].begin(coordinator.request(), coordinator.context.model)
    shown = repr(attempt) + repr(consortium.sites[VICTIM])
    assert "seeds" not in shown
    assert not any(repr(seed)[2:12] in shown for seed, _ in attempt.seeds)
