"""One question to several sites over Flower's Grid, answers as they come."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from wardround.common.errors import WardroundError
from wardround.common.wire.base import SiteReply, WireMessage
from wardround.common.wire.records import pack, unpack
from wardround.server.surroundings import surroundings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flwr.app import ArrayRecord, Message
    from flwr.serverapp import Grid

    from wardround.common.ids import SiteId
    from wardround.server.surroundings import Surroundings

POLL_SECONDS: Final = 0.05
"""Pause between two looks for replies when none was there; an in-process grid never needs it."""

REASON_CHARACTERS: Final = 500
"""How much of a peer's reason is kept: it is shown to people and written to files."""

R = TypeVar("R", bound=SiteReply)


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

    A site that the runtime says is silent is not asked, or not waited for any longer; the words are its answer. What it
    still sends answers nothing.

    Args:
        grid: Flower's Grid.
        kind: Flower message type, ``train``, ``evaluate.score``, …
        questions: What each site is asked.
        nodes: Each site's Flower node id.
        group: Flower's group id; the round.
        vector: Model vector that goes with every question.
    """
    around = surroundings_of(grid)
    silent = {site: words for site in questions if (words := around.silent(site)) is not None}
    asked = [site for site in questions if site not in silent]
    messages = [grid.create_message(pack(questions[site], vector), kind, nodes[site], group) for site in asked]
    waiting = dict(zip(grid.push_messages(messages), asked, strict=True)) if asked else {}
    yield from (Answer(site, None, words) for site, words in silent.items())
    while waiting:
        replies = deque(grid.pull_messages(list(waiting)))
        if not replies:
            yield from _given_up(waiting, around)
            around.wait(POLL_SECONDS)
        while replies:
            site = waiting.pop(replies[0].metadata.reply_to_message_id, None)
            if site is None:  # a repeated reply, or one to a question of someone else, answers nothing
                replies.popleft()
            else:  # no name here may hold a reply while the next one is fetched
                yield _answer(site, nodes[site], replies.popleft())


def _given_up(waiting: dict[str, SiteId], around: Surroundings) -> Iterator[Answer]:
    """Stop waiting for sites that fell silent."""
    for message, site in list(waiting.items()):
        if (words := around.silent(site)) is not None:
            del waiting[message]
            yield Answer(site, None, words)


def expect(answer: Answer, kind: type[R]) -> R:
    """The typed reply of an answer that must be there, in the name of the site that was asked.

    Raises:
        WardroundError: WR-1306, the site gave a reason instead; WR-1301, the reply is malformed or
            in the name of another site.
    """
    reply = expect_introduction(answer, kind)
    if reply.site != answer.site:
        raise WardroundError("WR-1301", f"The reply of site {answer.site} is in the name of another site.")
    return reply


def expect_introduction(answer: Answer, kind: type[R]) -> R:
    """As :func:`expect`, for a node whose site is not known yet."""
    if answer.message is None:
        raise WardroundError("WR-1306", f"Site {answer.site} did not answer: {answer.reason}.")
    try:
        return unpack(kind, answer.message.content)
    except WardroundError as error:
        raise WardroundError(error.code, f"Site {answer.site}: {error.what}") from error


def _answer(site: SiteId, node: int, reply: Message) -> Answer:
    if reply.metadata.src_node_id != node:
        return Answer(site, None, "WR-1301: another node answered in its place")
    if not reply.has_error():
        return Answer(site, reply, None)
    said = "".join(character if character.isprintable() else " " for character in reply.error.reason or "")
    return Answer(site, None, said[:REASON_CHARACTERS].removesuffix(".") or "no reason given")
