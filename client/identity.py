"""Who the hospital is to other hospitals, and whom it takes them for.

``identity.key`` in the home folder is the site's private Ed25519 key: 32 bytes, drawn at the site
from the operating system on first use, readable by the site's account only; it never leaves.
``roster.json`` is the roster that a person at the hospital accepted, with that person's name.

A hospital whose identity was revoked makes another one (:func:`new_identity`). The old key is kept as
``identity.<first 16 digits of its public key>.key``: the privacy ledger knows heads that it signed.

Accepting a roster pins its consortium and its authority's key. From then on a roster of another
authority, of an older version, or a second one of the same version is refused; a consortium that
loses its authority key is a new one, and people remove ``roster.json`` by hand before they accept.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wardround.client.home import write_atomically
from wardround.client.membership import MEMBERSHIP
from wardround.common.crypto.lengths import KEY_BYTES
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.roster import SignedRoster, Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.common.roster import Roster

IDENTITY: Final = "identity.key"
ROSTER: Final = "roster.json"
_ASIDE: Final = "identity.*.key"
_MEND_KEY: Final = (
    "Restore the key from a backup; a site with a new key has to be enrolled in the roster again, "
    "and removes roster.json before."
)
_MEND_ROSTER: Final = f"Restore {ROSTER}, or remove it and accept the roster anew after comparing fingerprints."


class AcceptedRoster(BaseModel):
    """``roster.json``.

    Attributes:
        schema: Version of this format.
        by: The person at this hospital who accepted it.
        signed: The roster with its authority's signature.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    by: Annotated[Text, Field(min_length=1)]
    signed: SignedRoster


def site_key(home: Home) -> SigningKey:
    """The site's identity key, made on first use.

    Raises:
        WardroundError: WR-1305, the file is damaged, cannot be read, or is gone although a roster
            with this site's key was accepted: a new one would be somebody else's to the peers.
    """
    path = home.path / IDENTITY
    if (home.path / ROSTER).exists() and not path.exists():
        what = f"{IDENTITY} is missing although a roster with the key of {home.site} was accepted."
        raise WardroundError("WR-1305", what, fix=_MEND_KEY)
    return stored_key(path)


def new_identity(home: Home) -> Path:
    """Set the identity key aside under a name of its own, and make a new one.

    Returns:
        Where the old one lies.

    Raises:
        WardroundError: WR-1305, the old one is damaged.
    """
    old = site_key(home)
    aside = home.path / f"identity.{old.public.hex()[:16]}.key"
    with _alone(home.path):
        write_atomically(aside, old.private, mode=0o600)
        write_atomically(home.path / IDENTITY, SigningKey.generate(os.urandom).private, mode=0o600)
    return aside


def put_back(home: Home, aside: Path) -> None:
    """Undo :func:`new_identity`: the key that lies aside is the identity again."""
    with _alone(home.path):
        write_atomically(home.path / IDENTITY, aside.read_bytes(), mode=0o600)
        aside.unlink()


def earlier_identities(home: Home) -> tuple[bytes, ...]:
    """Public keys that this hospital had before.

    Raises:
        WardroundError: WR-1305, a key that was set aside is damaged.
    """
    return tuple(stored_key(path).public for path in sorted(home.path.glob(_ASIDE)))


def stored_key(path: Path) -> SigningKey:
    """The private key in a file; a new one from the operating system where there is no file.

    Processes that ask for a new key at the same time all get the same one.

    Raises:
        WardroundError: WR-1305, the file does not hold 32 bytes or cannot be read.
    """
    if not path.exists():
        with _alone(path.parent):
            if not path.exists():  # another process may have made it since
                write_atomically(path, SigningKey.generate(os.urandom).private, mode=0o600)
    try:
        private = path.read_bytes()
    except OSError as error:
        what = f"{path.name} cannot be read ({type(error).__name__})."
        raise WardroundError("WR-1305", what, fix=_MEND_KEY) from error
    if len(private) != KEY_BYTES:
        what = f"{path.name} is damaged: it does not hold {KEY_BYTES} bytes."
        raise WardroundError("WR-1305", what, fix=_MEND_KEY)
    return SigningKey(private)


def accept_roster(home: Home, signed: SignedRoster, *, by: str) -> None:
    """Store a roster that a person accepted after comparing fingerprints, and pin its authority.

    The roster accepted before may be given again; nothing changes then, its person's name included.

    Args:
        home: The hospital's home.
        signed: The roster.
        by: The person's name.

    Raises:
        WardroundError: WR-1702, the authority did not sign it; it lacks this site or has another key
            for it; it goes back behind the roster accepted before, contradicts it, or comes from
            another consortium or authority; or that one is damaged. WR-1305, the site's key is damaged.
        ValueError: ``by`` is empty or not printable.
    """
    accepted = AcceptedRoster(by=by, signed=signed)
    signed.verify()
    _check_own_key(home, signed.roster)
    with _alone(home.path):
        before = _stored(home)
        if before is not None:
            _check_successor(before.signed, signed)
        if before is None or before.signed.roster != signed.roster:
            write_atomically(home.path / ROSTER, rfc8785.dumps(accepted.model_dump(mode="json", by_alias=True)))


def accepted_roster(home: Home) -> Roster:
    """The roster that this hospital's people accepted.

    Raises:
        WardroundError: WR-1702, none was accepted, its file was damaged since, or it no longer has
            this site's key.
    """
    roster = _accepted(home).signed.roster
    _check_own_key(home, roster)
    return roster


def last_roster(home: Home) -> Roster | None:
    """The roster that people accepted last, also where it has an earlier key of this hospital; None: there is none.

    It counts for nothing then; the next one has to follow upon it all the same.

    Raises:
        WardroundError: WR-1702, its file was damaged since.
    """
    found = _stored(home)
    return None if found is None else found.signed.roster


def accepted_authority(home: Home) -> str:
    """Public key of the authority that signed the accepted roster, 64 hex digits: who may propose studies here.

    Raises:
        WardroundError: WR-1702, none was accepted, or its file was damaged since.
    """
    return _accepted(home).signed.authority


def accepted_by(home: Home) -> str:
    """The person who accepted the roster.

    Raises:
        WardroundError: WR-1702, none was accepted, or its file was damaged since.
    """
    return _accepted(home).by


def _accepted(home: Home) -> AcceptedRoster:
    accepted = _stored(home)
    if accepted is None:
        join = f"Join first: wardround hospital join - --site {home.site}, with the coordinator's invite code."
        is_member = (home.path / MEMBERSHIP).exists()
        fix = "wardround hospital roster shows what waits to be accepted." if is_member else join
        raise WardroundError("WR-1702", f"No roster was accepted at {home.site}.", fix=fix)
    return accepted


def _check_own_key(home: Home, roster: Roster) -> None:
    if roster.public_key(home.site) != site_key(home).public:
        what = f"The roster has another key for {home.site} than the site's own."
        raise WardroundError("WR-1702", what, fix="Accept the newest one: wardround hospital roster")


def _check_successor(before: SignedRoster, signed: SignedRoster) -> None:
    old, new = before.roster, signed.roster
    if signed.authority != before.authority:
        raise WardroundError("WR-1702", "The roster is signed by another authority than the one accepted before.")
    if new.consortium != old.consortium:
        raise WardroundError("WR-1702", "The roster belongs to another consortium than the one accepted before.")
    if new.version < old.version:
        raise WardroundError("WR-1702", f"Version {new.version} of the roster is older than {old.version}, accepted.")
    if new.version == old.version and new != old:
        raise WardroundError("WR-1702", f"There are two different rosters of version {new.version}.")


def _stored(home: Home) -> AcceptedRoster | None:
    try:
        content = (home.path / ROSTER).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        what = f"{ROSTER} cannot be read ({type(error).__name__})."
        raise WardroundError("WR-1702", what, fix=_MEND_ROSTER) from error
    return _parsed(content)


@lru_cache(maxsize=64)
def _parsed(content: bytes) -> AcceptedRoster:
    """Parsed and verified once; the file is read every time, so that a change is seen."""
    try:
        accepted = AcceptedRoster.model_validate_json(content)
    except ValidationError:
        raise WardroundError("WR-1702", f"{ROSTER} is damaged.", fix=_MEND_ROSTER) from None
    accepted.signed.verify()
    return accepted


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes and threads that ask for the same out, by a lock on the folder itself."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
