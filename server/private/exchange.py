"""One exchange of the secure sum with the sites of a run: bytes down, bytes up, and what travelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.wire.private import ProtocolMessage, ProtocolReply
from wardround.common.wire.records import VECTOR, carried
from wardround.server.exchange import ask, expect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flwr.app import ArrayRecord, RecordDict
    from flwr.serverapp import Grid

    from wardround.common.ids import SiteId
    from wardround.common.wire.base import RunContext

    Take = Callable[[SiteId, bytes, RecordDict], None]
    """Takes a site's message of the protocol, and the record it came in."""

NOT_CONNECTED = "not connected"


class Exchange:
    """Asks the sites of one study run.

    Args:
        grid: Flower's Grid.
        context: What every message of the run says about itself.
        nodes: Flower node id of every connected site.

    Attributes:
        bytes_up: Bytes of protocol messages and masked updates that came in.
        bytes_down: Bytes of protocol messages and models that went out.
    """

    def __init__(self, grid: Grid, context: RunContext, nodes: Mapping[SiteId, int]) -> None:
        self._grid = grid
        self._fields = context.model_dump()
        self._nodes = nodes
        self.bytes_up = 0
        self.bytes_down = 0

    def ask(
        self,
        kind: str,
        contents: Mapping[SiteId, bytes],
        take: Take,
        *,
        group: str,
        vector: ArrayRecord | None = None,
    ) -> dict[SiteId, str]:
        """Send each site its message and take the replies as they come.

        Args:
            kind: Flower message type.
            contents: What each site is sent.
            take: Is given each reply; what it refuses counts as missing.
            group: Flower's group id.
            vector: Model that goes with every message.

        Returns:
            Sites without a usable reply, with the reason.
        """
        missing = {site: NOT_CONNECTED for site in contents if site not in self._nodes}
        questions = {
            site: ProtocolMessage(**self._fields, content=content)
            for site, content in contents.items()
            if site in self._nodes
        }
        attached = 0 if vector is None else len(vector[VECTOR].data)
        self.bytes_down += sum(len(question.content) + attached for question in questions.values())
        for answer in ask(self._grid, kind, questions, self._nodes, group=group, vector=vector):
            if answer.message is None:
                missing[answer.site] = answer.reason or "no reason given"
                continue
            try:
                self._take(answer.site, expect(answer, ProtocolReply).content, answer.message.content, take)
            except WardroundError as error:
                missing[answer.site] = error.phrase
            del answer  # a masked update is in the sum: let go of it before the next one comes
        return missing

    def _take(self, site: SiteId, content: bytes, record: RecordDict, take: Take) -> None:
        self.bytes_up += len(content)
        if VECTOR in record:
            self.bytes_up += len(carried(record).data)
        take(site, content, record)
