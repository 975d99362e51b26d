"""What one node was given and has announced, and so has a right to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MOST_MESSAGES: Final = 256
"""Messages and pushes of one node that are remembered, the newest ones."""


@dataclass(slots=True)
class Held:
    """What one node was given and has announced at this SuperLink.

    Attributes:
        offered: Ids of all objects of each message that it was given.
        open: Of each message that it has not answered or confirmed: its run, and the SuperLink's answer with it.
        expected: Of each push that is not whole: the message it answers, and the objects that are missing.
    """

    offered: dict[str, frozenset[str]] = field(default_factory=dict)
    open: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    expected: dict[str, tuple[str, set[str]]] = field(default_factory=dict)

    def offer(self, kept: frozenset[str], answer: bytes, found: tuple[str, int, frozenset[str]] | None) -> bytes:
        """The answer to PullMessages for a node that has ``kept`` messages: the SuperLink's, or an earlier one again.

        Where the SuperLink has nothing new, a message that the node never confirmed is given again: the answer, or the
        agent, was lost. A new message of a run ends the earlier ones of that run: nobody waits for their replies.

        Args:
            kept: Messages that the node has.
            answer: The SuperLink's.
            found: The message in it, as :func:`wardround.server.flower.read_offered` reads it.
        """
        if found is None:
            return next((earlier for name, (_, earlier) in self.open.items() if name not in kept), answer)
        message, run, objects = found
        self.open = {name: entry for name, entry in self.open.items() if entry[0] != run}
        self.offered[message], self.open[message] = objects, (run, answer)
        self.trim()
        return answer

    def expects(self, session: str, part: str) -> bool:
        """Whether an object is missing in a push."""
        return session in self.expected and part in self.expected[session][1]

    def stored(self, session: str, part: str) -> bool | None:
        """An object of a push is there; as :meth:`whole`."""
        if session in self.expected:
            self.expected[session][1].discard(part)
        return self.whole(session)

    def whole(self, session: str) -> bool | None:
        """Close a push that has become whole: whether the message that it answers was open; None: it is not whole."""
        if session not in self.expected or self.expected[session][1]:
            return None
        answered, _ = self.expected.pop(session)
        return self.open.pop(answered, None) is not None

    def forget(self, part: str) -> None:
        """Give up the open messages that have an object, because their run is over."""
        for name in [name for name in self.open if part in self.offered.get(name, ())]:
            del self.open[name]

    def trim(self) -> None:
        """Forget what is older than the newest :data:`MOST_MESSAGES`."""
        for entries in (self.offered, self.open, self.expected):
            while len(entries) > MOST_MESSAGES:
                entries.pop(next(iter(entries)))
