"""Documents of a consortium: what they hold, who signed them, and everything else is refused."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.run_folder import classification_study

from wardround.common.consortium.enrolment import EnrolmentRequest, InviteCode, SignedEnrolmentRequest
from wardround.common.consortium.studies import Decision, Proposal, SignedDecision, SignedProposal
from wardround.common.crypto.certificates import make_request
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError

KEY = SigningKey.generate(os.urandom)
OTHER = SigningKey.generate(os.urandom)


def request_of(key: SigningKey) -> EnrolmentRequest:
    own = ec.generate_private_key(ec.SECP256R1())
    return EnrolmentRequest(
        site="oak", identity=key.public.hex(), certificate_request=make_request(own), node="ab" * 10, at=1
    )


def test_an_invite_code_survives_paper_and_a_slip_of_the_hand_is_seen() -> None:
    code = InviteCode(address="wards.example.org:443", pin="ab" * 32, secret=os.urandom(20).hex())
    text = code.text()
    assert InviteCode.from_text(f"  {text[:30].upper()} \n {text[30:]} ") == code
    for place in range(4, len(text)):
        wrong = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
        with pytest.raises(WardroundError, match="WR-1904"):
            InviteCode.from_text(wrong)
    for wrong in ("", "wr1-", "hello", text[:-1], text + "a", "wr2" + text[3:], text.replace("-", "")):
        with pytest.raises(WardroundError, match="WR-1904"):
            InviteCode.from_text(wrong)


def test_a_request_counts_under_its_own_key_alone() -> None:
    request = request_of(KEY)
    assert SignedEnrolmentRequest.sign(request, KEY).verified() == request
    with pytest.raises(WardroundError, match="WR-1903"):
        SignedEnrolmentRequest.sign(request, OTHER).verified()
    signed = SignedEnrolmentRequest.sign(request, KEY)
    changed = signed.model_copy(update={"content": signed.content.replace('"oak"', '"elm"')})
    with pytest.raises(WardroundError, match="WR-1903"):
        changed.verified()


@pytest.mark.parametrize("wrong", [b"", b"{}", b"[]", b"\xff", b'{"a":1}'])
def test_what_is_no_request_is_refused(wrong: bytes) -> None:
    with pytest.raises(WardroundError, match="WR-1902"):
        EnrolmentRequest.from_canonical(wrong)


def test_only_canonical_bytes_count() -> None:
    content = request_of(KEY).canonical()
    EnrolmentRequest.from_canonical(content)
    with pytest.raises(WardroundError, match="WR-1902"):
        EnrolmentRequest.from_canonical(content + b" ")
    with pytest.raises(WardroundError, match="WR-1902"):
        EnrolmentRequest.from_canonical(content.replace(b'{"at":1', b'{"at":1,"more":2'))


def test_a_proposal_is_the_authoritys_and_one_byte_changes_it() -> None:
    study = classification_study()
    proposal = Proposal(consortium="wards", study=study.canonical().decode(), by="A. Person", at=5)
    signed = SignedProposal.sign(proposal, KEY)
    assert signed.verified(KEY.public.hex()).read_study().id == study.id
    with pytest.raises(WardroundError, match="WR-1903"):
        signed.verified(OTHER.public.hex())
    changed = signed.model_copy(update={"content": signed.content.replace("A. Person", "B. Person")})
    with pytest.raises(WardroundError, match="WR-1903"):
        changed.verified(KEY.public.hex())
    spaced = proposal.model_copy(update={"study": proposal.study + " "})
    with pytest.raises(WardroundError, match="WR-1906"):
        spaced.read_study()
    with pytest.raises(WardroundError, match="WR-1906"):
        proposal.model_copy(update={"study": "{}"}).read_study()


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    decision = Decision(consortium="wards", site="oak", study="sha256:" + "0" * 64, verdict="approved", by="A", at=5)
    signed = SignedDecision.sign(decision, KEY)
    assert signed.verified(KEY.public.hex()) == decision
    as_proposal = SignedProposal(content=signed.content, signer=signed.signer, signature=signed.signature)
    with pytest.raises(WardroundError, match="WR-1903"):
        as_proposal.verified(KEY.public.hex())


def test_two_people_are_two() -> None:
    known = {"consortium": "wards", "site": "oak", "study": "sha256:" + "0" * 64, "verdict": "approved", "at": 5}
    assert Decision(**known, by="Ann", second="Bo").second == "Bo"
    with pytest.raises(ValueError, match="the second person is the first"):
        Decision(**known, by="Ann", second="ANN")


@pytest.mark.parametrize("reason", ["\x1b[2J", "a\0", "\u202efle", "\t", "x" * 2001])
def test_reasons_hold_nothing_that_steers_a_terminal(reason: str) -> None:
    known = {"consortium": "wards", "site": "oak", "study": "sha256:" + "0" * 64, "verdict": "rejected", "at": 5}
    assert Decision(**known, by="Ann", reason="too few\nnurses 杉").reason
    with pytest.raises(ValueError, match="reason"):
        Decision(**known, by="Ann", reason=reason)
