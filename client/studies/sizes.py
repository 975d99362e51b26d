"""How large a message can be at most, as ``egress.jsonl`` counts it, from the classes that the egress gate checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from wardround.client.egress import refusal_bytes, reply_bytes
from wardround.client.federation import RELEASE
from wardround.common.consortium.studies import Decision, SignedDecision
from wardround.common.errors import REGISTRY
from wardround.common.privacy.witness import Bound, Head, SignedHead
from wardround.common.wire import federation
from wardround.common.wire.kinds import KINDS

if TYPE_CHECKING:
    from pydantic import BaseModel

    from wardround.common.consortium.signed import Document
    from wardround.common.ids import SiteId
    from wardround.common.wire.base import SiteReply

M = TypeVar("M", bound="BaseModel")

REFUSAL: Final = refusal_bytes()
"""Bytes of a refusal at most."""

_LONG: Final = 1.2345678901234567e-300
"""No number of its sign is written with more characters."""

_WIDE: Final = "\U0001f4a7"
"""Four bytes, as many as any character takes; a quotation mark takes as many where a document is text in another."""

_KEY: Final = "58" + "66" * 31
"""A public key: the curve's base point."""

_RUN: Final = "r" * 128
_TEXT, _REASON = 100, 2000


def reply_size(kind: type[SiteReply], *, site: SiteId, rounds: int, content: int = 0) -> int:
    """Bytes of a reply's fields at most.

    Args:
        kind: Its class.
        site: Whose.
        rounds: Of the study.
        content: Bytes of the secure sum's protocol in it.
    """
    known = {"site": site, "round": rounds, "content": bytes(content)}
    return reply_bytes(largest(kind, **{name: known[name] for name in kind.model_fields.keys() & known.keys()}))


def greeting_size() -> int:
    """Bytes of what the agent asks whenever it connects: greeting, roster, studies, events."""
    greet = largest(federation.Greet, release=RELEASE, protocols=federation.PROTOCOLS)
    return _size(greet) + 3 * _size(federation.Nothing())


def report_size() -> int:
    """Bytes of a report at most."""
    return _size(largest(federation.Report, run=_RUN, what=max(KINDS, key=len), reason=min(REGISTRY)))


def asking_size() -> int:
    """Bytes of the question for what the witness keeps of the ledger."""
    return _size(federation.Witness(nonce="0" * 64))


def head_size(site: SiteId) -> int:
    """Bytes at most of where the ledger stands, as the witness gets it."""
    digest = "0" * 64
    head = largest(
        Head,
        site=site,
        incarnation="0" * 32,
        digest=digest,
        committed=digest,
        ceiling=Bound(epsilon=_LONG, delta=_LONG),
    )
    return _size(federation.Witness(head=SignedHead(head=head, nonce=digest, signature=2 * digest), nonce=digest))


def decision_size(site: SiteId, consortium: str) -> int:
    """Bytes of a decision at most; names and a reason may be long."""
    decision = Decision(
        consortium=consortium,
        authority=_KEY,
        site=site,
        study="sha256:" + "0" * 64,
        verdict="withdrawn",
        by=_WIDE * _TEXT,
        second=_WIDE * (_TEXT - 1) + "2",
        reason=_WIDE * _REASON,
        at=largest_int(Decision, "at"),
    )
    text = decision.canonical().decode()
    return _size(federation.Decide(decision=SignedDecision(content=text, signer="0" * 64, signature="0" * 128)))


def largest(kind: type[M], **known: Any) -> M:  # noqa: ANN401 - values of any fields
    """A message of a class with values that are written with as many characters as any.

    Args:
        kind: The class.
        known: Values of fields that have no bound of their own, or one that is too wide.

    Raises:
        ValueError: A field has no bound, and no value is given.
    """
    fields = kind.model_json_schema()["properties"]
    return kind(**{name: known[name] if name in known else _widest(name, fields[name]) for name in fields})


def largest_int(kind: type[BaseModel], name: str) -> int:
    """The largest number that a field may hold."""
    return int(_widest(name, kind.model_json_schema()["properties"][name]))


def _widest(name: str, schema: dict[str, Any]) -> Any:  # noqa: ANN401 - of the field's type
    schema = schema.get("anyOf", [schema])[0]
    if "enum" in schema:
        return max(schema["enum"], key=len)
    if schema.get("type") == "number":
        return _LONG if schema.get("minimum", -1) >= 0 else -_LONG
    if schema.get("type") == "integer" and {"maximum", "exclusiveMaximum"} & schema.keys():
        most = schema["maximum"] if "maximum" in schema else schema["exclusiveMaximum"] - 1
        least = schema.get("minimum", 0)
        return max(int(most), int(least), key=lambda value: len(str(value)))
    raise ValueError(f"nothing says how large {name} can be")


def _size(document: Document) -> int:
    return len(document.canonical())
