"""What was proposed to a hospital and what it decided: kept, verified again, and sent once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fakes.proposals import NOW, Consortium, open_study, put_data, study_of

from wardround.client.approval import People, approve, reject
from wardround.client.data.registry import register
from wardround.client.home import Home
from wardround.client.identity import new_identity
from wardround.client.policy import Policy
from wardround.client.proposals import (
    find_proposal,
    is_sent,
    keep_proposal,
    kept_proposals,
    mark_sent,
    newest_decision,
    pending_decisions,
)
from wardround.client.studies.listing import list_studies
from wardround.client.studies.overview import overview
from wardround.common.consortium.studies import Proposal, SignedProposal
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

OPEN = Policy(modes=("open", "private"), without_privacy=True)
ROTH = People("M. Roth")


@pytest.fixture
def lungs(tmp_path: Path) -> Consortium:
    found = Consortium.around(tmp_path / "home", policy=OPEN)
    register(found.home, put_data(tmp_path / "data"))
    return Consortium(found.authority, Home(found.home.path))


def test_a_proposal_is_kept_as_it_came_and_found_by_its_hash(lungs: Consortium) -> None:
    study = open_study()
    proposal = lungs.propose(study)
    digits = study.id.removeprefix("sha256:")
    for text in (study.id, digits, digits[:8], f" {digits.upper()} "):
        assert find_proposal(lungs.home, text) == proposal
    assert [kept.study for kept in kept_proposals(lungs.home)] == [study.id]
    assert (lungs.home.path / "proposals").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "abc", "00000000", "sha256:", "../outside", "zzzzzzzzzz"])
def test_a_hash_that_nobody_proposed_is_refused(text: str, lungs: Consortium) -> None:
    lungs.propose(open_study())
    with pytest.raises(WardroundError, match="WR-1924"):
        find_proposal(lungs.home, text)


def test_only_what_the_accepted_authority_signed_for_this_consortium_is_kept(lungs: Consortium) -> None:
    good, stranger = lungs.proposal(open_study()), SigningKey.generate(os.urandom)
    for wrong in (
        SignedProposal.sign(good, stranger),
        SignedProposal.sign(good, lungs.authority).model_copy(update={"signer": stranger.public.hex()}),
        SignedProposal.sign(lungs.proposal(open_study(), consortium="livers"), lungs.authority),
    ):
        with pytest.raises(WardroundError, match="WR-1903"):
            keep_proposal(lungs.home, wrong)
    assert kept_proposals(lungs.home) == ()
    assert keep_proposal(lungs.home, SignedProposal.sign(good, lungs.authority))


def test_the_same_proposal_is_new_once_and_a_later_one_replaces_it(lungs: Consortium) -> None:
    first = SignedProposal.sign(lungs.proposal(open_study()), lungs.authority)
    later = SignedProposal.sign(lungs.proposal(open_study(), why="Said better.", at=NOW + 5), lungs.authority)
    found = [keep_proposal(lungs.home, signed) for signed in (first, first, later, first)]
    assert [None if new is None else new.at for new in found] == [NOW, None, NOW + 5, None]
    assert find_proposal(lungs.home, open_study().id).why == "Said better."


def test_a_proposal_that_was_changed_on_disk_cannot_be_approved_and_hides_no_other(lungs: Consortium) -> None:
    lungs.propose(open_study())
    other = lungs.propose(open_study(title="Other"))
    path = next(path for path in (lungs.home.path / "proposals").iterdir() if path.stem not in other.study_id)
    path.write_bytes(path.read_bytes().replace(b"To read films", b"To read minds"))
    kept = kept_proposals(lungs.home)
    assert [one.proposal for one in kept] == [other, None]
    with pytest.raises(WardroundError, match="WR-1903"):
        find_proposal(lungs.home, path.stem)
    assert find_proposal(lungs.home, other.study_id) == other


def test_a_proposal_under_another_studys_name_is_not_that_study(lungs: Consortium) -> None:
    lungs.propose(open_study())
    path = next((lungs.home.path / "proposals").iterdir())
    path.rename(path.with_name("ab" * 32 + ".json"))
    with pytest.raises(WardroundError, match="WR-1903"):
        find_proposal(lungs.home, "ab" * 32)


def test_a_study_of_another_release_is_kept_and_named_but_not_approved(lungs: Consortium) -> None:
    text = open_study().canonical().decode().replace('"name":"chests"', '"name":"chests","new_field":1')
    proposal = lungs.propose(text)
    assert find_proposal(lungs.home, proposal.study_id).by == proposal.by
    with pytest.raises(WardroundError, match="WR-1906"):
        approve(lungs.home, proposal, ROTH, now=NOW)


def test_decisions_wait_until_they_are_marked_as_sent(lungs: Consortium) -> None:
    one, two = lungs.propose(open_study()), lungs.propose(open_study(title="Other"))
    first = approve(lungs.home, one, ROTH, now=NOW + 2)
    second = reject(lungs.home, two.study_id, People("M. Roth", reason="Too few"), now=NOW + 1)
    assert pending_decisions(lungs.home) == (second, first)
    mark_sent(lungs.home, first)
    mark_sent(lungs.home, first)
    assert pending_decisions(lungs.home) == (second,)
    assert (is_sent(lungs.home, one.study_id), is_sent(lungs.home, two.study_id)) == (True, False)


def test_a_decision_that_was_taken_while_another_one_was_sent_stays_pending(lungs: Consortium) -> None:
    proposal = lungs.propose(open_study())
    first = approve(lungs.home, proposal, ROTH, now=NOW)
    changed = reject(lungs.home, proposal.study_id, ROTH, now=NOW + 1)
    mark_sent(lungs.home, first)
    assert pending_decisions(lungs.home) == (changed,)


def test_a_decision_that_was_changed_on_disk_is_not_sent(lungs: Consortium) -> None:
    proposal = lungs.propose(open_study())
    reject(lungs.home, proposal.study_id, ROTH, now=NOW)
    path = next((lungs.home.path / "decisions").glob("*.json"))
    good = path.read_bytes()
    path.write_bytes(good.replace(b"rejected", b"approved"))
    assert pending_decisions(lungs.home) == ()
    with pytest.raises(WardroundError, match="WR-1903"):
        newest_decision(lungs.home, proposal.study_id)
    path.write_bytes(good)
    assert len(pending_decisions(lungs.home)) == 1


def test_what_was_decided_under_an_earlier_identity_is_decided_anew(lungs: Consortium) -> None:
    proposal = lungs.propose(open_study())
    approve(lungs.home, proposal, ROTH, now=NOW)
    path = next((lungs.home.path / "decisions").glob("*.json"))
    aside = new_identity(lungs.home)
    assert newest_decision(lungs.home, proposal.study_id) is None
    assert pending_decisions(lungs.home) == ()
    aside.rename(lungs.home.path / "elsewhere")  # the control: signed by a key that was never the hospital's
    with pytest.raises(WardroundError, match="WR-1903"):
        newest_decision(lungs.home, proposal.study_id)
    assert path.exists()


def test_a_study_with_one_byte_changed_needs_an_approval_of_its_own(lungs: Consortium) -> None:
    study = study_of(privacy=None, aggregation={"mode": "open"})
    approve(lungs.home, lungs.propose(study), ROTH, now=NOW)
    assert lungs.home.approved(study.id) == study
    changed = study.model_copy(update={"title": study.title + "!"})
    assert len(changed.canonical()) == len(study.canonical()) + 1
    with pytest.raises(WardroundError, match="WR-1304"):
        lungs.home.approved(changed.id)
    path = lungs.home.path / "studies" / f"{study.id.removeprefix('sha256:')}.json"
    path.write_bytes(changed.canonical())
    with pytest.raises(WardroundError, match="WR-1304"):
        lungs.home.approved(study.id)


def test_a_study_that_the_consortium_withdrew_is_shown_so_and_not_approved(lungs: Consortium) -> None:
    first = lungs.propose(open_study())
    approve(lungs.home, first, ROTH, now=NOW)
    assert list_studies(lungs.home)[0].runs_here
    withdrawn = lungs.propose(open_study(), withdrawn=True, at=NOW + 1, why="a slip")
    (listed,) = list_studies(lungs.home)
    assert (listed.state, listed.runs_here, listed.called_off) == ("withdrawn", False, "Dr. Lindqvist, Umeå: a slip")
    with pytest.raises(WardroundError, match="WR-1938"):
        approve(lungs.home, find_proposal(lungs.home, withdrawn.study_id), ROTH, now=NOW + 2)
    assert not overview(lungs.home, withdrawn, measure=False).approvable
    lungs.propose(open_study())  # the coordinator shows the first one again
    assert list_studies(lungs.home)[0].state == "withdrawn"


def test_only_a_withdrawn_proposal_says_so_in_its_canonical_form(lungs: Consortium) -> None:
    plain, withdrawn = lungs.proposal(open_study()), lungs.proposal(open_study(), withdrawn=True)
    assert b"withdrawn" not in plain.canonical()
    for proposal in (plain, withdrawn):
        assert Proposal.from_canonical(proposal.canonical()) == proposal
