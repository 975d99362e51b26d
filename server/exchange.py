"""One question to several sites over Flower's Grid, answers as they come."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from wardround.common.errors import WardroundError
from wardround.common.wire.messages import WireMessage
from wardround.common.wire.records import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flwr.app import ArrayRecord, Message
    from flwr.serverapp import Grid

    from wardround.common.ids import SiteId

POLL_SECONDS: Final = 0.05
"""Pause between two looks for replies when none was there; an in-process grid never needs it."""

W = TypeVar("W", bound=WireMessage)


@dataclass(frozen=True, slots=True)
class Answer:
    """A site's reply, or the reason why there is none."""

    site: SiteId
    message: Message | None
    reason: str | None


def ask(
    grid: Grid,
    kind: str,
    questions: Mapping[SiteId, WireMessage],
    nodes: Mapping[SiteId, int],
    *,
    group: str,
    vector: ArrayRecord | None = None,
) -> Iterator[Answer]:
    """Send one question to each site and yield the answers in the order of arrival.

    Args:
        grid: Flower's Grid.
        kind: Flower message type, ``train``, ``evaluate.score``, …
        questions: What each site is asked.
        nodes: Each site's Flower node id.
        group: Flower's group id; the round.
        vector: Model vector that goes with every question.
    """
    messages = [
        grid.create_message(pack(question, vector), kind, nodes[site], group) for site, question in questions.items()
    ]
    waiting = dict(zip(grid.push_messages(messages), questions, strict=True))
    while waiting:
        replies = list(grid.pull_messages(list(waiting)))
        for reply in replies:
            site = waiting.pop(reply.metadata.reply_to_message_id)
            if reply.has_error():
                yield Answer(site, None, reply.error.reason)
            else:
                yield Answer(site, reply, None)
        if not replies:
            time.sleep(POLL_SECONDS)


def expect(answer: Answer, kind: type[W]) -> W:
    """The typed reply of an answer that must be there.

    Raises:
        WardroundError: WR-1306, the site gave a reason instead; WR-1301, the reply is malformed.
    """
    if answer.message is None:
        raise WardroundError("WR-1306", f"Site {answer.site} did not answer: {answer.reason}.")
    return unpack(kind, answer.message.content)
