"""How others help a hospital to notice that its privacy ledger was put back to an older state.

1. After it has spent, a site signs the head of its ledger (:class:`Head`, :class:`SignedHead`) and gives it away.
2. A witness, a peer or the coordinator, keeps the newest head of each site.
3. Before it spends, the site draws a nonce and asks; the witness signs nonce and head (:class:`Answer`), so
   that an older answer cannot be given in its place.
4. The site compares the head with its ledger (:mod:`wardround.client.ledger`).

A head says how many events a ledger has and what it promises at most; nothing about patients or studies. A witness can
keep a hospital from training, by silence, but cannot make it spend anything twice as long as one asked is honest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

from wardround.common.crypto.signing import verify
from wardround.common.errors import WardroundError
from wardround.common.roster import Signature, Site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardround.common.crypto.signing import SigningKey
    from wardround.common.ids import SiteId

HEAD: Final = "ledger/head"
"""Purpose of a site's signature under its head."""

ANSWER: Final = "ledger/answer"
"""Purpose of a witness's signature."""

INFINITE: Final = "infinite"

Count = Annotated[int, Field(ge=0, lt=2**53)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Incarnation = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def canonical(self) -> bytes:
        """RFC 8785 JSON."""
        return rfc8785.dumps(self.model_dump(mode="json"))


class Bound(_Part):
    """An (epsilon, delta) for each patient, add/remove neighbours.

    Attributes:
        epsilon: Above 0, or ``infinite``: no promise.
        delta: From 0 to below 1.
    """

    epsilon: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | Literal["infinite"]
    delta: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]

    @property
    def number(self) -> float:
        """Epsilon as a float, maybe inf."""
        return float("inf") if self.epsilon == INFINITE else self.epsilon

    def covers(self, other: Bound | None) -> bool:
        """Whether nothing within ``other`` exceeds this."""
        return other is None or (self.number >= other.number and self.delta >= other.delta)

    def joined(self, other: Bound | None) -> Bound:
        """The smallest bound that covers both."""
        if other is None:
            return self
        widest = max(self, other, key=lambda bound: bound.number)
        return Bound(epsilon=widest.epsilon, delta=max(self.delta, other.delta))


class Head(_Part):
    """Where a ledger stands.

    Attributes:
        site: Whose ledger.
        incarnation: Drawn at random when the ledger was made, and anew whenever it was restored from a backup.
        sequence: How many events it has.
        digest: Of the last event; its hash chain holds all events before.
        committed: Digest of the last event that did more than draw on a reservation. What is lost after that event is
            covered by charging all reservations that were open then.
        ceiling: The highest limit there ever was, epsilon and delta each; None: no limit was ever set.
    """

    site: Site
    incarnation: Incarnation
    sequence: Count
    digest: Digest
    committed: Digest
    ceiling: Bound | None


class SignedHead(_Part):
    """A head that its site vouches for.

    Attributes:
        head: The head.
        nonce: What whoever asked for it drew; the signature is no older than that.
        signature: By the site's identity key.
    """

    head: Head
    nonce: Nonce
    signature: Signature

    @classmethod
    def sign(cls, head: Head, nonce: str, key: SigningKey) -> Self:
        """Sign with the site's identity key."""
        return cls(head=head, nonce=nonce, signature=key.sign(HEAD, _signed(head, nonce)).hex())

    def verify(self, public: bytes) -> None:
        """Check that the site of this public key signed it.

        Raises:
            WardroundError: WR-1816, it did not.
        """
        if not verify(public, HEAD, _signed(self.head, self.nonce), bytes.fromhex(self.signature)):
            raise WardroundError("WR-1816", "The head of a ledger has no valid signature of its site.")


class Answer(_Part):
    """What a witness says when it is asked for the newest head of a site.

    Attributes:
        witness: Who says so.
        site: Whose ledger was asked for.
        newest: The newest head that the witness has; None: it has none.
        nonce: What the site drew for this question.
        signature: By the witness.
    """

    witness: Site
    site: Site
    newest: SignedHead | None
    nonce: Nonce
    signature: Signature

    @classmethod
    def sign(cls, witness: SiteId, site: SiteId, newest: SignedHead | None, nonce: str, key: SigningKey) -> Self:
        """Answer with the witness's key."""
        signature = key.sign(ANSWER, _answered(witness, site, newest, nonce)).hex()
        return cls(witness=witness, site=site, newest=newest, nonce=nonce, signature=signature)

    def verify(self, public: bytes) -> None:
        """Check that the witness of this public key signed it.

        Raises:
            WardroundError: WR-1816, it did not.
        """
        signed = _answered(self.witness, self.site, self.newest, self.nonce)
        if not verify(public, ANSWER, signed, bytes.fromhex(self.signature)):
            raise WardroundError("WR-1816", "An answer about the head of a ledger has no valid signature.")


def newest(kept: SignedHead | None, given: SignedHead) -> SignedHead:
    """Which of two heads of a site a witness keeps: the one with more events, of equals the first.

    After a restore from backup a site may stand behind what it once signed: the older incarnation's head stays until it
    is overtaken, and the site knows how to read it.
    """
    return given if kept is None or given.head.sequence > kept.head.sequence else kept


def fresh_heads(
    answers: Sequence[Answer], *, site: SiteId, nonce: str, keys: Mapping[SiteId, bytes]
) -> tuple[SignedHead | None, ...]:
    """What witnesses say, once it is certain that they say it now.

    Args:
        answers: One a witness.
        site: The site that asked.
        nonce: What it drew.
        keys: Public keys of the witnesses it trusts.

    Raises:
        WardroundError: WR-1816, an answer is to another question, or not from a witness of ``keys``.
    """
    for answer in answers:
        if (answer.site, answer.nonce) != (site, nonce):
            raise WardroundError("WR-1816", "An answer about the head of a ledger is to another question.")
        if answer.witness not in keys:
            raise WardroundError("WR-1816", "An answer about the head of a ledger comes from an unknown witness.")
        answer.verify(keys[answer.witness])
    return tuple(answer.newest for answer in answers)


def _signed(head: Head, nonce: str) -> bytes:
    return rfc8785.dumps({"head": head.model_dump(mode="json"), "nonce": nonce})


def _answered(witness: SiteId, site: SiteId, newest: SignedHead | None, nonce: str) -> bytes:
    head = None if newest is None else newest.model_dump(mode="json")
    return rfc8785.dumps({"witness": witness, "site": site, "newest": head, "nonce": nonce})
