"""What the consortium proposed to this hospital, and what its people decided: two folders of files.

``proposals/<hash>.json`` holds each proposal as it was received, signed by the consortium's authority.
``decisions/<hash>.json`` holds the newest decision on a study, signed by this site, and is the outbox: the agent sends
what :func:`pending_decisions` gives, and :func:`mark_sent` writes down which one the coordinator has.

Whatever is read here is verified again: a file that was changed on this machine counts for nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.client.home import write_atomically
from wardround.client.identity import accepted_authority, accepted_roster, earlier_identities, site_key
from wardround.common.consortium.studies import Decision, Proposal, SignedDecision, SignedProposal
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyId

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.home import Home

PROPOSALS: Final = "proposals"
DECISIONS: Final = "decisions"
MOST: Final = 10_000
"""Proposals that are kept; more are refused, so that nobody fills the disk with them."""

_LATEST: Final = 2**40
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_FIX_HASH: Final = "wardround hospital studies lists what was proposed, with its hash."


@dataclass(frozen=True, slots=True)
class Kept:
    """A file in ``proposals/``.

    Attributes:
        study: The study's id, from the file's name.
        proposal: What is proposed; None: it cannot be used.
        problem: Why not.
    """

    study: StudyId
    proposal: Proposal | None
    problem: WardroundError | None = None


def keep_proposal(home: Home, signed: SignedProposal) -> Proposal | None:
    """Keep what the coordinator proposes, for people to look at.

    Args:
        home: The hospital's home.
        signed: As received.

    Returns:
        The proposal if it is new here, of an unknown study or a later one of a known study; None: it is not.

    Raises:
        WardroundError: WR-1902, it is malformed; WR-1903, the authority of the accepted roster did not sign it, or it
            is another consortium's; WR-1910, too many are kept; WR-1702, no roster was accepted.
    """
    proposal = _verified(home, signed)
    folder = _folder(home, PROPOSALS)
    path = folder / _file(proposal.study_id)
    if path.exists():
        known = _read(home, path).proposal
        if known is not None and known.at >= proposal.at:
            return None
    elif sum(1 for _ in folder.iterdir()) >= MOST:
        raise WardroundError("WR-1910", f"{MOST} proposals are kept here already.")
    write_atomically(path, signed.canonical(), mode=0o600)
    return proposal


def kept_proposals(home: Home) -> tuple[Kept, ...]:
    """Everything in ``proposals/``, oldest first, what cannot be used last.

    Raises:
        WardroundError: WR-1702, no roster was accepted.
    """
    accepted_authority(home)
    paths = [path for path in (home.path / PROPOSALS).glob("*.json") if _HASH.fullmatch(path.stem)]
    found = [_read(home, path) for path in paths]
    return tuple(
        sorted(found, key=lambda kept: (kept.proposal is None, kept.proposal and kept.proposal.at, kept.study))
    )


def find_proposal(home: Home, text: str) -> Proposal:
    """The proposal whose study has this hash.

    Args:
        home: The hospital's home.
        text: The hash, with or without ``sha256:``; its first 8 digits or more, if no other study begins so.

    Raises:
        WardroundError: WR-1924, no or more than one study here begins so; WR-1902 or WR-1903, the file was changed;
            WR-1702, no roster was accepted.
    """
    digits = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{8,64}", digits):
        raise WardroundError("WR-1924", "A study is named by 8 or more hexadecimal digits of its hash.", fix=_FIX_HASH)
    found = [kept for kept in kept_proposals(home) if kept.study.removeprefix("sha256:").startswith(digits)]
    if len(found) != 1:
        count, begin = ("No study", "begins") if not found else (f"{len(found)} studies", "begin")
        raise WardroundError("WR-1924", f"{count} proposed to {home.site} {begin} with {digits[:12]}.", fix=_FIX_HASH)
    if found[0].problem is not None:
        raise found[0].problem
    if found[0].proposal is None:
        raise RuntimeError("a kept proposal has neither content nor problem")
    return found[0].proposal


def keep_decision(home: Home, decision: Decision) -> SignedDecision:
    """Sign a decision and put it into the outbox, in the place of an earlier one on the same study."""
    signed = SignedDecision.sign(decision, site_key(home))
    write_atomically(_folder(home, DECISIONS) / _file(StudyId(decision.study)), signed.canonical(), mode=0o600)
    return signed


def newest_decision(home: Home, study: StudyId) -> Decision | None:
    """What people here decided about a study last; None: nothing yet under the hospital's present identity.

    Raises:
        WardroundError: WR-1902 or WR-1903, the file was changed since.
    """
    signed = _stored_decision(home.path / DECISIONS / _file(study))
    if signed is None or any(_is_by(signed, key.hex()) for key in earlier_identities(home)):
        return None
    return signed.verified(site_key(home).public.hex())


def _is_by(signed: SignedDecision, key: str) -> bool:
    try:
        signed.verified(key)
    except WardroundError:
        return False
    return True


def pending_decisions(home: Home) -> tuple[SignedDecision, ...]:
    """What the coordinator has not been told yet, oldest first. Changed files are left out: nobody decided that.

    Raises:
        WardroundError: WR-1305, the site's key is damaged.
    """
    own = site_key(home).public.hex()
    found = []
    for path in sorted((home.path / DECISIONS).glob("*.json")):
        try:
            signed = _stored_decision(path)
            if signed is not None and _sent(path) != signed.hash:
                found.append((signed.verified(own).at, signed))
        except WardroundError:
            continue  # wardround hospital studies names it
    return tuple(signed for _, signed in sorted(found, key=lambda pair: pair[0]))


def mark_sent(home: Home, signed: SignedDecision) -> None:
    """Write down that the coordinator has this decision. One that was taken meanwhile stays pending."""
    study = StudyId(Decision.from_canonical(signed.content.encode()).study)
    path = _folder(home, DECISIONS) / _file(study)
    write_atomically(path.with_suffix(".sent"), signed.hash.encode(), mode=0o600)


def is_sent(home: Home, study: StudyId) -> bool:
    """Whether the coordinator has the newest decision on a study."""
    path = home.path / DECISIONS / _file(study)
    signed = _stored_decision(path)
    return signed is not None and _sent(path) == signed.hash


def _verified(home: Home, signed: SignedProposal) -> Proposal:
    proposal = signed.verified(accepted_authority(home))
    if proposal.consortium != accepted_roster(home).consortium:
        raise WardroundError("WR-1903", "The proposal is for another consortium than that of the accepted roster.")
    return proposal


def _read(home: Home, path: Path) -> Kept:
    study = StudyId(f"sha256:{path.stem}")
    try:
        proposal = _verified(home, SignedProposal.from_canonical(path.read_bytes()))
    except WardroundError as error:
        return Kept(study, None, error)
    if proposal.study_id != study:
        return Kept(study, None, WardroundError("WR-1903", "A proposal's file has the name of another study."))
    return Kept(study, proposal)


def _stored_decision(path: Path) -> SignedDecision | None:
    try:
        return SignedDecision.from_canonical(path.read_bytes())
    except FileNotFoundError:
        return None


def _sent(path: Path) -> str | None:
    try:
        return path.with_suffix(".sent").read_text(encoding="ascii")
    except FileNotFoundError:
        return None


def _folder(home: Home, name: str) -> Path:
    folder = home.path / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _file(study: StudyId) -> str:
    digits = study.removeprefix("sha256:")
    if not _HASH.fullmatch(digits):
        raise ValueError("a study's id is sha256: and 64 hex digits")
    return f"{digits}.json"
