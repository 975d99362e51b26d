"""The steps of the secure sum as Flower messages, registered with the hospital's ClientApp."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Final

from wardround.client.secagg.rounds import PrivateRounds
from wardround.client.secagg.spoken import SPOKEN
from wardround.common.errors import WardroundError
from wardround.common.wire import private
from wardround.common.wire.records import pack, unpack
from wardround.common.wire.rings import pack_ring
from wardround.common.wire.vectors import unpack_vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from flwr.app import Context, Message, RecordDict
    from flwr.clientapp import ClientApp

    from wardround.client.hospital import Hospital

    Step = Callable[[Hospital, RecordDict], RecordDict]
    Answering = Callable[[Step], Callable[[Message, Context], Message]]
    Exchange = Callable[[PrivateRounds, private.ProtocolMessage], private.ProtocolReply]

_EXCHANGES: Final[dict[str, Exchange]] = {
    private.ADVERTISE: PrivateRounds.advertise,
    private.JOIN: PrivateRounds.join,
    private.CONFIRM: PrivateRounds.confirm,
    private.OPEN: PrivateRounds.open,
    private.ENDED: PrivateRounds.ended,
    private.FINISHED: PrivateRounds.finished,
}


def register(app: ClientApp, answering: Answering) -> None:
    """Let ``app`` answer the messages of private studies.

    Args:
        app: The hospital's ClientApp.
        answering: Turns a step of a hospital into a Flower handler.
    """
    app.train(private.UPLOAD.partition(".")[2])(answering(discreetly(_upload)))
    for kind, exchange in _EXCHANGES.items():
        app.query(kind.partition(".")[2])(answering(discreetly(_step(exchange))))


def discreet(error: WardroundError) -> WardroundError:
    """The refusal as it may leave in private mode.

    What went wrong with data or training can hold numbers of this site; then the code leaves with its
    title, and the sentence stays in the site's journal.
    """
    if error.code.startswith(SPOKEN):
        return error
    return WardroundError(error.code, f"{error.page.title}.")


def _upload(hospital: Hospital, content: RecordDict) -> RecordDict:
    question = unpack(private.ProtocolMessage, content)
    vector = unpack_vector(content, hospital.model_size(question))
    reply, masked = PrivateRounds(hospital).upload(question, vector)
    return pack(reply, pack_ring(masked))


def _step(exchange: Exchange) -> Step:
    def step(hospital: Hospital, content: RecordDict) -> RecordDict:
        return pack(exchange(PrivateRounds(hospital), unpack(private.ProtocolMessage, content)))

    return step


def discreetly(step: Step) -> Step:
    """Let no sentence out of a step that may hold numbers of this site."""

    @wraps(step)
    def wrapped(hospital: Hospital, content: RecordDict) -> RecordDict:
        try:
            return step(hospital, content)
        except WardroundError as error:
            raise discreet(error) from error

    return wrapped
