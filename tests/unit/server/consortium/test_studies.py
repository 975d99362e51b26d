"""Proposals are the authority's, decisions are the sites' own, and the newest one counts."""

from __future__ import annotations

import hashlib
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.joining import DAY, NOW, Hospital
from fakes.run_folder import classification_study

from wardround.common.consortium.studies import Decision, SignedDecision
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.privacy.witness import Head, SignedHead, fresh_heads
from wardround.server.consortium import Consortium, create_consortium
from wardround.server.consortium.requests import COORDINATOR
from wardround.server.gateway.presence import read_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STUDY = classification_study()
SITES = {name: Hospital(name) for name in (*STUDY.sites, "other")}
FIRST = SITES[STUDY.sites[0]]
NONCE = "ab" * 32


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    """All sites of the study and one more are members."""
    with create_consortium(tmp_path / "wards", "wards", "localhost:443", now=NOW) as made:
        for site in SITES.values():
            site.join(made)
        yield made


@pytest.fixture
def asked(consortium: Consortium) -> Consortium:
    """The study is proposed."""
    consortium.propose(STUDY, "A. Person, ward 3", "to learn", now=NOW)
    return consortium


def decision(verdict: str = "approved", at: int = NOW, key: SigningKey | None = None, **changed: str) -> SignedDecision:
    known = {"consortium": "wards", "site": FIRST.site, "study": STUDY.id, "by": "B. Person"}
    return SignedDecision.sign(
        Decision.model_validate({**known, "verdict": verdict, "at": at, **changed}), key or FIRST.identity
    )


def test_a_decision_under_an_identity_of_before_does_not_count(asked: Consortium) -> None:
    asked.decide(FIRST.site, decision(), now=NOW)
    assert asked.approvals(STUDY.id) == (FIRST.site,)
    asked.revoke(FIRST.site, "its key was copied", now=NOW)
    again = Hospital(FIRST.site)
    again.join(asked, now=NOW + 1)
    assert (asked.approvals(STUDY.id), asked.decisions(STUDY.id)) == ((), ())
    asked.decide(FIRST.site, decision(at=NOW + 2, key=again.identity), now=NOW + 2)
    assert asked.approvals(STUDY.id) == (FIRST.site,)


def test_a_study_is_proposed_once_under_the_authoritys_signature(consortium: Consortium) -> None:
    signed = consortium.propose(STUDY, "A. Person", "to learn", now=NOW)
    proposal = signed.verified(consortium.authority.public.hex())
    assert (proposal.by, proposal.why, proposal.at, proposal.consortium) == ("A. Person", "to learn", NOW, "wards")
    assert proposal.read_study().id == STUDY.id
    (row,) = consortium.store.studies()
    assert (row.id, row.sites, row.signed) == (STUDY.id, STUDY.sites, signed)
    assert consortium.proposals_for(FIRST.name) == (signed,)
    assert consortium.proposals_for(SiteId("other")) == ()
    with pytest.raises(WardroundError, match="WR-1932"):
        consortium.propose(STUDY, "A. Person", now=NOW)
    assert len(consortium.store.studies()) == 1


@pytest.mark.parametrize(
    ("by", "why"), [("", ""), ("x" * 101, ""), ("two\nlines", ""), ("A", "x" * 2001), ("A", "\x1b[2J")]
)
def test_words_that_hospitals_could_not_read_are_refused(consortium: Consortium, by: str, why: str) -> None:
    with pytest.raises(WardroundError, match="WR-1931"):
        consortium.propose(STUDY, by, why, now=NOW)
    assert consortium.store.studies() == ()


def test_a_study_names_sites_that_are_there(consortium: Consortium) -> None:
    consortium.revoke(FIRST.site, "", now=NOW)
    with pytest.raises(WardroundError, match="WR-1921"):
        consortium.propose(STUDY, "A. Person", now=NOW)
    strange = STUDY.model_copy(update={"sites": ("nobody", *STUDY.sites[1:])})
    with pytest.raises(WardroundError, match="WR-1921"):
        consortium.propose(strange, "A. Person", now=NOW)


@pytest.mark.parametrize(
    ("model", "code"),
    [({"name": "small_cnn", "parameters": {"width": 9}}, "WR-1202"), ({"name": "absent"}, "WR-1201")],
)
def test_a_study_that_nobody_could_carry_out_is_not_proposed(
    model: dict[str, Any], code: str, consortium: Consortium
) -> None:
    study = STUDY.model_copy(update={"model": STUDY.model.model_copy(update=model)})
    with pytest.raises(WardroundError, match=code):
        consortium.propose(study, "A. Person", now=NOW)
    assert consortium.store.studies() == ()
    consortium.propose(STUDY, "A. Person", now=NOW)


def test_a_study_is_not_proposed_without_the_weights_that_it_begins_with(consortium: Consortium) -> None:
    content = b"no weights"
    digest = hashlib.sha256(content).hexdigest()
    begins = {"init": digest, "init_data": "public films"}
    study = STUDY.model_copy(update={"model": STUDY.model.model_copy(update=begins)})
    with pytest.raises(WardroundError, match="WR-1208"):
        consortium.propose(study, "A. Person", now=NOW)
    (consortium.path / "weights" / f"{digest}.safetensors").write_bytes(content)
    with pytest.raises(WardroundError, match="no safetensors file"):
        consortium.propose(study, "A. Person", now=NOW)


def test_a_study_is_withdrawn_once_and_nobody_approves_it_then(asked: Consortium) -> None:
    asked.decide(FIRST.name, decision(), now=NOW)
    signed = asked.withdraw(STUDY.id, "C. Person", "a slip", now=NOW)
    found = signed.verified(asked.authority.public.hex())
    assert (found.withdrawn, found.by, found.why, found.at) == (True, "C. Person", "a slip", NOW + 1)
    assert found.study_id == STUDY.id
    assert asked.proposals_for(FIRST.name) == (signed,)
    with pytest.raises(WardroundError, match="WR-1938"):
        asked.withdraw(STUDY.id, "C. Person", now=NOW)
    with pytest.raises(WardroundError, match="WR-1938"):
        asked.decide(FIRST.name, decision(at=NOW + 1), now=NOW)
    assert asked.decide(FIRST.name, decision("rejected", NOW + 2), now=NOW)
    with pytest.raises(WardroundError, match=r"WR-1938.*changes the study file"):
        asked.propose(STUDY, "A. Person", now=NOW)


def test_agents_are_told_that_a_study_was_withdrawn(asked: Consortium) -> None:
    superlink: Any = SimpleNamespace(incarnation="one")
    before = read_state(asked.store, superlink)
    assert read_state(asked.store, superlink, before).news(before) == ()
    asked.withdraw(STUDY.id, "C. Person", now=NOW)
    assert read_state(asked.store, superlink, before).news(before) == ("studies",)


def test_a_study_that_was_started_is_not_withdrawn(asked: Consortium) -> None:
    asked.store.add_run(StudyRunId("run"), STUDY.id, by="A. Person", seed=0)
    with pytest.raises(WardroundError, match="WR-1923"):
        asked.withdraw(STUDY.id, "C. Person", now=NOW)
    assert not asked.store.studies()[0].withdrawn
    with pytest.raises(WardroundError, match="WR-1913"):
        asked.withdraw(StudyId("sha256:" + "0" * 64), "C. Person", now=NOW)


def test_a_decision_counts_under_the_sites_key(asked: Consortium) -> None:
    assert asked.decide(FIRST.name, decision(), now=NOW)
    assert asked.approvals(STUDY.id) == (FIRST.site,)
    (row,) = asked.store.decisions(STUDY.id)
    assert (row.verdict, row.by, row.decided_at) == ("approved", "B. Person", NOW)
    assert row.signed.verified(FIRST.identity.public.hex()).study == STUDY.id


@pytest.mark.parametrize(
    ("signed", "code"),
    [
        (decision(key=SITES["other"].identity), "WR-1903"),
        (decision(key=SigningKey.generate(os.urandom)), "WR-1903"),
        (decision().model_copy(update={"content": decision().content.replace("approved", "rejected")}), "WR-1903"),
        (decision(site="other"), "WR-1909"),
        (decision(consortium="others"), "WR-1909"),
        (decision(study="sha256:" + "0" * 64), "WR-1913"),
        (decision(at=NOW + 3 * DAY), "WR-1902"),
    ],
    ids=["another site", "a stranger", "changed", "for another", "elsewhere", "unknown study", "tomorrow"],
)
def test_a_decision_that_is_not_the_sites_own_is_refused(asked: Consortium, signed: SignedDecision, code: str) -> None:
    with pytest.raises(WardroundError, match=code):
        asked.decide(FIRST.name, signed, now=NOW)
    assert asked.store.decisions(STUDY.id) == ()
    assert asked.decide(FIRST.name, decision(), now=NOW)


def test_a_site_that_is_not_asked_does_not_decide(asked: Consortium) -> None:
    other = SITES["other"]
    with pytest.raises(WardroundError, match="WR-1909"):
        asked.decide(other.name, decision(site="other", key=other.identity), now=NOW)


def test_the_newest_decision_counts_and_a_replayed_one_changes_nothing(asked: Consortium) -> None:
    approved, withdrawn = decision(), decision("withdrawn", NOW + 10)
    assert asked.decide(FIRST.name, approved, now=NOW)
    assert asked.decide(FIRST.name, withdrawn, now=NOW + 10)
    assert asked.approvals(STUDY.id) == ()
    assert not asked.decide(FIRST.name, approved, now=NOW + 20)
    with pytest.raises(WardroundError, match="WR-1932"):
        asked.decide(FIRST.name, decision(at=NOW + 5, reason="sent late"), now=NOW + 20)
    assert asked.approvals(STUDY.id) == ()
    assert asked.decide(FIRST.name, decision(at=NOW + 30), now=NOW + 30)
    assert asked.approvals(STUDY.id) == (FIRST.site,)
    assert [row.verdict for row in asked.store.decision_history(STUDY.id)] == ["approved", "withdrawn", "approved"]


def test_a_site_cannot_fill_the_database_with_decisions(asked: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wardround.server.consortium.consortium.MOST_DECISIONS", 2)
    for at in (NOW, NOW + 1):
        assert asked.decide(FIRST.name, decision(at=at), now=NOW)
    with pytest.raises(WardroundError, match="WR-1910"):
        asked.decide(FIRST.name, decision(at=NOW + 2), now=NOW)
    assert len(asked.store.decision_history(STUDY.id)) == 2


def test_the_approval_of_a_revoked_site_does_not_count(asked: Consortium) -> None:
    asked.decide(FIRST.name, decision(), now=NOW)
    asked.revoke(FIRST.site, "", now=NOW)
    assert asked.approvals(STUDY.id) == ()
    with pytest.raises(WardroundError, match="WR-1921"):
        asked.decide(FIRST.name, decision("withdrawn", NOW + 1), now=NOW + 1)


def test_a_run_needs_a_proposed_study(consortium: Consortium) -> None:
    assert consortium.store.study(StudyId(STUDY.id)) is None
    assert consortium.approvals(StudyId(STUDY.id)) == ()


def head(site: Hospital, sequence: int) -> SignedHead:
    place = Head(
        site=site.name,
        incarnation="0" * 32,
        sequence=sequence,
        digest="1" * 64,
        committed="2" * 64,
        ceiling=None,
    )
    return SignedHead.sign(place, NONCE, site.identity)


def test_the_coordinator_is_a_witness_of_ledgers(consortium: Consortium) -> None:
    keys = {COORDINATOR: consortium.authority.public}

    def asked_for(kept: SignedHead | None) -> SignedHead | None:
        answer = consortium.witness(FIRST.name, kept, NONCE)
        return fresh_heads([answer], site=FIRST.name, nonce=NONCE, keys=keys)[0]

    assert asked_for(None) is None
    assert asked_for(head(FIRST, 3)) is None
    assert asked_for(None) == head(FIRST, 3)
    assert asked_for(head(FIRST, 2)) == head(FIRST, 3)
    assert asked_for(None) == head(FIRST, 3)  # an older head does not replace a newer one
    other = SITES["other"]
    with pytest.raises(WardroundError, match="WR-1909"):
        consortium.witness(FIRST.name, head(other, 9), NONCE)
    forged = head(FIRST, 9).model_copy(update={"signature": head(FIRST, 8).signature})
    with pytest.raises(WardroundError, match="WR-1816"):
        consortium.witness(FIRST.name, forged, NONCE)
    assert asked_for(None) == head(FIRST, 3)
