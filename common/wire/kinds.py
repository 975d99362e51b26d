"""Every kind of message there is, what is asked and what may be answered.

Nothing else ever leaves a hospital: the egress gate (:mod:`wardround.client.egress`) and the simulation's grid hold
every reply against this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from flwr.app import ConfigRecord
from pydantic import ValidationError

from wardround.common.errors import WardroundError
from wardround.common.wire import messages, noisy, private
from wardround.common.wire.base import SiteReply, WireMessage
from wardround.common.wire.records import FIELDS, VECTOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.app import RecordDict

W = TypeVar("W", bound=WireMessage)

Part: TypeAlias = Literal["float32", "ring"]
"""What kind of vector comes with a message: a model or an update, or masked ring values."""

Mode: TypeAlias = Literal["any", "open", "noisy", "private"]
"""Of which studies a kind of message is: all, open ones, open ones with differential privacy, or private ones."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of message.

    Attributes:
        question: What is asked.
        reply: What is answered.
        mode: In which studies.
        carries: What comes with the reply; None: nothing.
        given: Whether a model comes with the question.
        tells: Whether the reply depends on patients' data.
    """

    question: type[WireMessage]
    reply: type[SiteReply]
    mode: Mode
    carries: Part | None = None
    given: bool = False
    tells: bool = False


_EXCHANGE: Final = Kind(private.ProtocolMessage, private.ProtocolReply, "private")

KINDS: Final[Mapping[str, Kind]] = {
    "query.hello": Kind(messages.Hello, messages.HelloReply, "any"),
    "query.describe": Kind(messages.Describe, messages.Description, "open", tells=True),
    "train": Kind(messages.Train, messages.Trained, "open", carries="float32", given=True, tells=True),
    "evaluate": Kind(messages.Validate, messages.Validated, "open", given=True, tells=True),
    "evaluate.score": Kind(messages.Score, messages.Scored, "any", given=True),
    noisy.PREPARE: Kind(noisy.Prepare, noisy.Ready, "noisy"),
    noisy.TRAIN: Kind(noisy.TrainNoisy, noisy.TrainedNoisy, "noisy", carries="float32", given=True, tells=True),
    noisy.SETTLE: Kind(noisy.Settle, noisy.Ready, "noisy"),
    private.ADVERTISE: _EXCHANGE,
    private.JOIN: _EXCHANGE,
    private.UPLOAD: Kind(
        private.ProtocolMessage, private.ProtocolReply, "private", carries="ring", given=True, tells=True
    ),
    private.CONFIRM: _EXCHANGE,
    private.OPEN: _EXCHANGE,
    private.ENDED: _EXCHANGE,
    private.FINISHED: _EXCHANGE,
}


def known_kind(name: str) -> Kind:
    """The kind of this Flower message type.

    Raises:
        WardroundError: WR-1301, there is none.
    """
    if name not in KINDS:
        raise WardroundError("WR-1301", "The kind of message is unknown at this hospital.")
    return KINDS[name]


def checked_question(name: str, fields: Mapping[str, Any]) -> WireMessage:
    """The question of a kind.

    Raises:
        WardroundError: WR-1301, there is no such kind, or the fields are not of its question.
    """
    return _checked(known_kind(name).question, fields, "WR-1301")


def checked_reply(name: str, fields: Mapping[str, Any]) -> SiteReply:
    """The reply of a kind.

    Raises:
        WardroundError: WR-1301, there is no such kind; WR-1911, the fields are not of its reply.
    """
    return _checked(known_kind(name).reply, fields, "WR-1911")


def check_reply(name: str, content: RecordDict) -> None:
    """Refuse a reply that its kind does not have; what size of vector is right, the study says.

    Raises:
        WardroundError: WR-1301, there is no such kind; WR-1911, the reply is not of it.
    """
    records = {FIELDS} if known_kind(name).carries is None else {FIELDS, VECTOR}
    if content.keys() != records:
        raise WardroundError("WR-1911", "A reply has not the records of its kind.")
    fields = content[FIELDS]
    if not isinstance(fields, ConfigRecord):
        raise WardroundError("WR-1911", "A reply has no fields.")
    checked_reply(name, fields)


def _checked(kind: type[W], fields: Mapping[str, Any], code: str) -> W:
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        # Names of fields that do not belong there are not repeated: they may be anything.
        places = {str(place) for item in error.errors() for place in item["loc"][:1]}
        wrong = sorted(places & kind.model_fields.keys())
        words = f" ({', '.join(wrong)})" if wrong else ""
        raise WardroundError(code, f"The fields of a {kind.__name__} message are not right{words}.") from None
