"""The coordinator's side of an attempt: when it opens, when not, what it says then, and what it takes from whom."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.secagg import HEAD, Consortium, Silence, plain_sum, run_attempt
from fakes.secagg_story import resumed_attempt

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.secagg.coordinator_attempt import RECORD, CoordinatorAttempt
from wardround.common.secagg.coordinator_record import CoordinatorRecord
from wardround.common.secagg.messages import AttemptEnded, Confirmation, Opening, Stage, Upload
from wardround.common.secagg.parameters import Strength

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardround.common.secagg.ring import RingVector

STRANGER = SiteId("s99")


class Round:
    """One attempt of a cohort, step by step."""

    def __init__(self, sites: int = 4, strength: Strength = Strength.ACTIVE) -> None:
        self.consortium = Consortium(sites, strength=strength, size=9)
        self.session = self.consortium.session()
        self.names = self.consortium.names
        self.attempt = self.consortium.attempt(self.session, self.consortium.context(self.session))
        self.sent: dict[SiteId, tuple[bytes, RingVector]] = {}

    def upload(self, names: Iterable[SiteId] | None = None) -> None:
        for name in self.names if names is None else names:
            self.sent[name] = self.consortium.upload(name, self.attempt, self.consortium.update(name))
            self.attempt.receive_upload(name, *self.sent[name])

    def confirm(self) -> dict[SiteId, bytes]:
        asked = self.attempt.close_uploads()
        signed = {name: self.consortium.sites[name].confirm(request) for name, request in asked.items()}
        for name, message in signed.items():
            self.attempt.receive_confirmation(name, message)
        return signed

    def openings(self) -> dict[SiteId, bytes]:
        asked = self.attempt.close_confirmations()
        return {name: self.consortium.sites[name].open(request) for name, request in asked.items()}

    def open(self) -> list[int]:
        for name, message in self.openings().items():
            self.attempt.receive_opening(name, message)
        return [int(value) for value in self.attempt.reveal()]

    def expected(self) -> list[int]:
        return plain_sum(map(self.consortium.update, self.attempt.uploaded), 16)


# Step 3


@pytest.mark.parametrize(("sites", "missing"), [(3, 0), (4, 1), (5, 1), (7, 2), (10, 3)])
def test_as_many_sites_may_be_silent_before_uploading_as_the_document_says(sites: int, missing: int) -> None:
    enough = Round(sites)
    enough.upload(enough.names[missing:])
    enough.confirm()
    assert enough.open() == enough.expected()
    few = Round(sites)
    few.upload(few.names[missing + 1 :])
    with pytest.raises(WardroundError, match=rf"WR-1711.*{sites - missing - 1} of {sites} sites uploaded"):
        few.attempt.close_uploads()


def test_a_masked_update_is_of_the_ring_and_size_of_the_study() -> None:
    played = Round()
    name = played.names[0]
    message, masked = played.consortium.upload(name, played.attempt, played.consortium.update(name))
    wrong = [
        masked[:-1],
        np.append(masked, masked[:1]),
        masked.reshape(3, 3),
        masked.reshape(1, 9),
        masked[0],
        masked.astype(np.uint32),
        masked.astype(np.int16),
        masked.astype(">u2"),
        masked.astype(np.float32),
        masked.astype(np.uint8),
        masked.astype(bool),
        masked.astype(object),
        np.empty(0, dtype=np.uint16),
    ]
    for values in wrong:
        with pytest.raises(WardroundError, match=r"WR-1701.*ring and size"):
            played.attempt.receive_upload(name, message, values)
    assert played.attempt.uploaded == ()
    played.attempt.receive_upload(name, message, masked)
    played.upload(played.names[1:])
    played.confirm()
    assert played.open() == played.expected()


def test_an_upload_counts_once_and_for_its_sender() -> None:
    played = Round()
    played.upload()
    first, second = played.names[:2]
    message, masked = played.sent[first]
    with pytest.raises(WardroundError, match=r"WR-1701.*s00 has uploaded already"):
        played.attempt.receive_upload(first, message, masked)
    with pytest.raises(WardroundError, match=r"WR-1701.*s01 is in the name of another"):
        played.attempt.receive_upload(second, message, masked)
    with pytest.raises(WardroundError, match=r"WR-1704.*s99"):
        played.attempt.receive_upload(STRANGER, message, masked)
    old = replace(Upload.decode(message, 4), context=bytes(32)).encode()
    with pytest.raises(WardroundError, match=r"WR-1706.*another attempt"):
        played.attempt.receive_upload(first, old, masked)
    played.confirm()
    assert played.open() == played.expected()


def test_a_late_upload_changes_nothing() -> None:
    played = Round()
    played.upload(played.names[1:])
    late = played.consortium.upload(played.names[0], played.attempt, played.consortium.update(played.names[0]))
    played.confirm()
    with pytest.raises(WardroundError, match=r"WR-1706.*s00 came after"):
        played.attempt.receive_upload(played.names[0], *late)
    assert played.open() == played.expected()
    assert played.attempt.uploaded == played.names[1:]


def test_sites_that_do_not_share_a_pair_seed_are_named_before_anything_is_asked() -> None:
    played = Round()
    played.upload(played.names[1:])
    name = played.names[0]
    message, masked = played.consortium.upload(name, played.attempt, played.consortium.update(name))
    upload = Upload.decode(message, 4)
    lying = replace(upload, commitments=(*upload.commitments[:2], bytes(32), upload.commitments[3]))
    played.attempt.receive_upload(name, lying.encode(), masked)
    with pytest.raises(WardroundError, match=r"WR-1713.*s00 and s02"):
        played.attempt.close_uploads()
    assert played.consortium.coordinator_store.writes == 0


def test_the_survivor_set_is_durable_before_anybody_hears_of_it() -> None:
    played = Round()
    played.upload(played.names[1:])
    first = played.attempt.close_uploads()
    record = CoordinatorRecord.decode(played.consortium.coordinator_store.records[RECORD])
    assert record.survivors.sites == (1, 2, 3)
    assert record.survivors.head == HEAD
    assert played.attempt.close_uploads() == first
    assert played.consortium.coordinator_store.writes == 2


# Step 4


def test_confirmations_come_after_the_survivor_set_and_from_their_signers() -> None:
    played = Round()
    played.upload()
    forged = Confirmation(0, played.attempt.context.digest, bytes(64))
    with pytest.raises(WardroundError, match=r"WR-1706.*s00"):
        played.attempt.receive_confirmation(played.names[0], forged.encode())
    signed = played.confirm()
    first, second = played.names[:2]
    with pytest.raises(WardroundError, match=r"WR-1703.*s00"):
        played.attempt.receive_confirmation(first, forged.encode())
    with pytest.raises(WardroundError, match=r"WR-1701.*s01 is in the name of another"):
        played.attempt.receive_confirmation(second, signed[first])
    stolen = replace(Confirmation.decode(signed[first]), position=1)
    with pytest.raises(WardroundError, match=r"WR-1703.*s01"):
        played.attempt.receive_confirmation(second, stolen.encode())
    with pytest.raises(WardroundError, match=r"WR-1704.*s99"):
        played.attempt.receive_confirmation(STRANGER, signed[first])
    assert played.open() == played.expected()


@pytest.mark.parametrize(("sites", "threshold"), [(3, 2), (4, 3), (5, 4), (10, 7)])
def test_t_confirmations_and_t_openings_are_enough_and_fewer_are_not(sites: int, threshold: int) -> None:
    for stage, silence in [("confirmed", Silence.CONFIRM), ("sent their shares", Silence.OPEN)]:
        for answering in (threshold, threshold - 1):
            played = Round(sites)
            silent = dict.fromkeys(played.names[answering:], silence)
            updates = {name: played.consortium.update(name) for name in played.names}
            outcome = run_attempt(played.consortium, played.attempt, updates, silent)
            if answering == threshold:
                assert outcome.total is not None, stage
                assert outcome.total.tolist() == played.expected()
            else:
                assert outcome.code == "WR-1711", stage


# Step 5


def test_shares_come_when_asked_for_and_from_those_who_were_asked() -> None:
    played = Round()
    played.upload(played.names[:3])
    fake = Opening(0, played.attempt.context.digest, bytes(33 * 3 * 2)).encode()
    with pytest.raises(WardroundError, match=r"WR-1706.*s00"):
        played.attempt.receive_opening(played.names[0], fake)
    played.confirm()
    with pytest.raises(WardroundError, match=r"WR-1706.*s00"):
        played.attempt.receive_opening(played.names[0], fake)
    messages = played.openings()
    outsider = replace(Opening.decode(messages[played.names[0]], 4, 3), position=3).encode()
    with pytest.raises(WardroundError, match=r"WR-1706.*s03"):
        played.attempt.receive_opening(played.names[3], outsider)
    with pytest.raises(WardroundError, match=r"WR-1701.*s01 is in the name of another"):
        played.attempt.receive_opening(played.names[1], messages[played.names[0]])
    for name, message in messages.items():
        played.attempt.receive_opening(name, message)
        played.attempt.receive_opening(name, message)
    with pytest.raises(WardroundError, match=r"WR-1701.*s00 sent shares a second time"):
        played.attempt.receive_opening(played.names[0], fake)
    assert played.attempt.reveal().tolist() == played.expected()


def test_the_sum_is_revealed_once_and_stays_as_it_is() -> None:
    played = Round()
    played.upload()
    played.confirm()
    assert played.open() == played.expected()
    assert played.attempt.reveal().tolist() == played.expected()


@pytest.mark.parametrize("liar", range(5))
@pytest.mark.parametrize("lie", [bytes(33), b"\xff" * 33], ids=["another share", "no share"])
def test_one_site_with_wrong_shares_among_enough_others_does_no_harm(liar: int, lie: bytes) -> None:
    played = Round(5)
    played.upload()
    played.confirm()
    for name, message in played.openings().items():
        shares = Opening.decode(message, 5, 5)
        wrong = replace(shares, shares=shares.shares[:33] + lie + shares.shares[66:])
        played.attempt.receive_opening(name, (wrong if shares.position == liar else shares).encode())
    assert played.attempt.reveal().tolist() == played.expected()


def test_wrong_shares_never_give_a_wrong_sum() -> None:
    for liars in combinations(range(5), 2):
        played = Round(5)
        played.upload()
        played.confirm()
        for name, message in played.openings().items():
            shares = Opening.decode(message, 5, 5)
            wrong = replace(shares, shares=bytes(33) + shares.shares[33:])
            played.attempt.receive_opening(name, (wrong if shares.position in liars else shares).encode())
        with pytest.raises(WardroundError, match="WR-1713"):
            played.attempt.reveal()


# Semi-honest


def test_a_semi_honest_session_skips_the_confirmation() -> None:
    played = Round(5, Strength.SEMI_HONEST)
    played.upload(played.names[1:])
    assert played.attempt.close_uploads() == {}
    asked = played.attempt.close_confirmations()
    assert tuple(asked) == played.names[1:]
    for name in played.names[1:4]:  # t = 3
        played.attempt.receive_opening(name, played.consortium.sites[name].open(asked[name]))
    assert played.attempt.reveal().tolist() == played.expected()


# After a restart


def test_a_resumed_attempt_goes_on_with_its_set_and_sum() -> None:
    played = Round()
    played.upload(played.names[1:])
    before = played.attempt.close_uploads()
    resumed = resumed_attempt(played.consortium, played.attempt)
    assert resumed is not None
    assert resumed.close_uploads() == before
    assert resumed.uploaded == played.names[1:]
    played.attempt = resumed
    played.confirm()
    assert played.open() == played.expected()


def test_a_record_of_another_attempt_is_not_gone_on_with() -> None:
    played = Round()
    played.upload()
    played.attempt.close_uploads()
    store = played.consortium.coordinator_store
    record = CoordinatorRecord.decode(store.records[RECORD])
    context = replace(played.attempt.context, attempt=2)

    def resume(with_record: CoordinatorRecord) -> CoordinatorAttempt:
        return CoordinatorAttempt(
            played.session.context,
            context,
            roster=played.consortium.roster,
            size=9,
            head=HEAD,
            store=store,
            resumed=with_record,
        )

    with pytest.raises(WardroundError, match="WR-1714"):
        resume(record)
    forged = replace(record, context=context, survivors=replace(record.survivors, context=context.digest))
    with pytest.raises(WardroundError, match="WR-1714"):  # there is no sum of that attempt
        resume(forged)


# What people are told


def test_what_the_coordinator_says_when_an_attempt_ends() -> None:
    played = Round(5)
    played.upload(played.names[:3])
    told = AttemptEnded.decode(played.attempt.ended(Stage.UPLOAD), 5)
    assert (told.stage, told.needed, told.present) == (Stage.UPLOAD, 4, (0, 1, 2))
    with pytest.raises(WardroundError) as refused:
        played.attempt.close_uploads()
    words = str(refused.value)
    assert "3 of 5 sites uploaded, at least 4 are needed; missing: s03, s04" in words
