"""A Flower Grid whose sites answer as a test says: honestly, or as a hostile or broken peer would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wardround.common.wire.messages import Description, Hello, HelloReply, Train, Trained, Validated
from wardround.common.wire.records import VECTOR, pack, pack_vector, unpack
from wardround.simulations.grid import InProcessGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flwr.app import Message, RecordDict

    from wardround.common.ids import SiteId

    Script = Callable[["ScriptedGrid", SiteId, Message], list[Message]]

PATIENTS, SAMPLES = 4, 8


class ScriptedGrid(InProcessGrid):
    """Every site answers through its script; sites without one are honest.

    Args:
        sites: The sites.
        scripts: What hostile sites do with a question: the replies that they send for it.
    """

    def __init__(self, sites: Iterable[SiteId], scripts: Mapping[SiteId, Script]) -> None:
        super().__init__({site: Path(site) for site in sites})
        self._scripts = scripts
        self.asked: list[Message] = []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies of one site to the oldest of these messages."""
        wanted = set(message_ids)
        for message in list(self._queue):
            if message.metadata.message_id in wanted:
                self._queue.remove(message)
                self.asked.append(message)
                site = self._sites[message.metadata.dst_node_id]
                return self._scripts.get(site, honest)(self, site, message)
        return []


def honest(_: ScriptedGrid, site: SiteId, message: Message) -> list[Message]:
    """What a site with 4 patients and 8 images says, whose training changes nothing."""
    return [message_to(message, honest_content(site, message))]


def honest_content(site: SiteId, message: Message) -> RecordDict:
    """The content of the honest reply."""
    kind = message.metadata.message_type
    if kind == "query.hello":
        unpack(Hello, message.content)
        return pack(HelloReply(site=site))
    if kind == "query.describe":
        return pack(Description(site=site, patients=PATIENTS, samples=SAMPLES))
    if kind == "evaluate":
        return pack(Validated(site=site, loss=0.5, metric=0.5))
    question = unpack(Train, message.content)
    values = len(message.content.array_records[VECTOR][VECTOR].data) // 4
    reply = Trained(
        site=site,
        round=question.round,
        patients=PATIENTS,
        samples=question.samples,
        loss=0.5,
        train_seconds=0.1,
        seconds=0.1,
        validation_loss=0.5,
    )
    return pack(reply, pack_vector(np.zeros(values, dtype=np.float32)))


def message_to(question: Message, content: RecordDict) -> Message:
    """A reply to a question."""
    from flwr.app import Message as FlowerMessage

    return FlowerMessage(content, reply_to=question)
