"""Every kind of message that leaves a hospital in a study, with its fields and bytes.

Kinds, fields and sizes are those of the classes that the egress gate checks (:mod:`wardround.client.studies.sizes`);
the rest of the bytes follows from the model's layout and the number of sites. Nothing here looks at data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from wardround.client.egress import REQUESTS, times
from wardround.client.studies.sizes import (
    REFUSAL,
    asking_size,
    decision_size,
    greeting_size,
    head_size,
    reply_size,
    report_size,
)
from wardround.common.rounds.encodings import training_encoding, validation_encoding
from wardround.common.secagg import messages as secagg
from wardround.common.secagg.context import HASH
from wardround.common.secagg.shamir import SHARE_BYTES
from wardround.common.wire import noisy, private
from wardround.common.wire.federation import RENEW
from wardround.common.wire.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wardround.common.ids import SiteId
    from wardround.common.secagg.encoding import Encoding
    from wardround.common.study import Study
    from wardround.common.vector import Layout

FLOAT32_BYTES: Final = 4

FIELD_WORDS: Final = {
    "site": "this hospital's name",
    "round": "the number of the round",
    "patients": "how many training patients",
    "samples": "how many images were used",
    "loss": "the mean loss",
    "metric": "AUROC or Dice on validation patients",
    "train_seconds": "how long training took",
    "seconds": "how long the round took",
    "validation_loss": "the mean loss on validation patients",
    "validation_metric": "AUROC or Dice on validation patients",
    "validation": "the validation patients' losses, summed, with noise",
}
"""What each field of a reply is, for people."""


BESIDE: Final = "beside"
"""When a call of the agent leaves that goes with other messages."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """One kind of message that leaves the hospital.

    Attributes:
        kind: Flower message type, or the name of a call of the agent.
        when: ``decision``: when people decide; ``start``, ``round`` or ``end``: at the start of a run, in every round,
            at its end; ``beside``: with any of these messages.
        fields: Of the reply, in words.
        vector: The vector that goes with it, in words; None: there is none.
        size: Largest number of bytes, as ``egress.jsonl`` counts them.
        paid: Whether the ledger is asked for it and its head given to the witness.
    """

    kind: str
    when: str
    fields: tuple[str, ...]
    vector: str | None = None
    size: int = 0
    paid: bool = False

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Amounts:
    """Most bytes that leave, as ``egress.jsonl`` counts them, with all calls of the agent.

    Attributes:
        decision: When people here decide.
        start: At the start of a run.
        round: In a round that succeeds at once.
        end: At the end of a run.
        rounds: Of the study.
        times: How often an update may leave for the same round (:func:`wardround.client.egress.times`).
        other: When anything else, or a refusal, is asked for again: there is no bound on how often.
        connection: Whenever the agent connects, whatever studies there are.
        report: Whenever the agent's state changes, likewise.
        renewal: Whenever it renews its certificate, likewise.
    """

    decision: int
    start: int
    round: int
    end: int
    rounds: int
    times: int
    other: int
    connection: int
    report: int
    renewal: int

    @property
    def study(self) -> int:
        """In a whole study whose rounds succeed at once."""
        return self.decision + self.start + self.rounds * self.round + self.end

    @property
    def tried_again(self) -> int:
        """The same if every round and the end are gone through as often as an update may leave."""
        return self.decision + self.start + (self.rounds * self.round + self.end) * self.times

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "study": self.study, "tried_again": self.tried_again}


def leaving(study: Study, layout: Layout, site: SiteId, *, scored: bool = False) -> tuple[Leaving, ...]:
    """Every message that a study makes leave, in the order in which it does.

    Args:
        study: The study.
        layout: Of its model.
        site: Whose messages.
        scored: Whether the site's policy lets a coordinator have models scored here in studies that are private or
            make a promise; in others it always may.

    Raises:
        WardroundError: WR-1002 or WR-1805, no secure sum can be made of the study.
    """
    messages = _Messages(study, layout, site)
    hello = messages.reply("query.hello", "start")
    if not study.private and study.privacy is None:
        return (hello, *_open(messages))
    scores = (messages.reply("evaluate.score", "end"),) if scored else ()
    return (hello, *(_private(messages) if study.private else _noisy(messages)), *scores)


def calls(site: SiteId, consortium: str) -> tuple[Leaving, ...]:
    """What the agent tells the coordinator of its own because of a study."""
    return (
        Leaving(
            "Decide", "decision", ("your decision, names and reason, signed",), size=decision_size(site, consortium)
        ),
        Leaving("Report", BESIDE, ("whether the agent works, on what, on which processor",), size=report_size()),
        Leaving(
            "Witness",
            BESIDE,
            ("how far the privacy ledger has come: a number of events, checksums, the highest limit; signed",),
            size=head_size(site),
        ),
    )


def amounts(study: Study, messages: tuple[Leaving, ...], site: SiteId, consortium: str) -> Amounts:
    """How much leaves at most.

    A refusal may leave in the place of every reply; beside each message the agent may report twice (it works, and it
    does so no longer), and beside one that is paid for it asks the witness and gives it the ledger's head.

    Args:
        study: The study.
        messages: See :func:`leaving`.
        site: Whose messages.
        consortium: Its name.
    """
    paid = asking_size() + head_size(site)
    told = 2 * report_size()

    def part(when: str) -> int:
        found = [message for message in messages if message.when == when]
        return sum(max(message.size, REFUSAL) + told + (paid if message.paid else 0) for message in found)

    return Amounts(
        decision=decision_size(site, consortium),
        start=part("start"),
        round=part("round"),
        end=part("end"),
        rounds=study.training.rounds,
        times=times(study),
        other=max(REFUSAL, *(message.size for message in messages if message.vector is None)) + told,
        connection=greeting_size(),
        report=report_size(),
        renewal=REQUESTS[RENEW][1],
    )


@dataclass(frozen=True, slots=True)
class _Messages:
    """Makes rows of messages of one study and site."""

    study: Study
    layout: Layout
    site: SiteId

    def reply(
        self, kind: str, when: str, vector: str | None = None, size: int = 0, *, without: Collection[str] = ()
    ) -> Leaving:
        """A reply with the fields of its class.

        Args:
            kind: Of the message.
            when: It leaves.
            vector: In words.
            size: Of the vector, bytes.
            without: Fields that are empty in this study.
        """
        known = KINDS[kind]
        fields = tuple(FIELD_WORDS[name] for name in known.reply.model_fields if name not in without)
        size += reply_size(known.reply, site=self.site, rounds=self.study.training.rounds)
        return Leaving(kind, when, fields, vector, size, known.carries is not None)

    def protocol(
        self, kind: str, when: str, content: int, words: str | None = None, vector: tuple[str, int] | None = None
    ) -> Leaving:
        """A reply of the secure sum, whose bytes are told apart here.

        Args:
            kind: Of the message.
            when: It leaves.
            content: Bytes of the protocol.
            words: What they are.
            vector: In words, and its bytes.
        """
        known, site = KINDS[kind], FIELD_WORDS["site"]
        size = reply_size(known.reply, site=self.site, rounds=self.study.training.rounds, content=content)
        fields = (site,) if words is None else (site, words)
        if vector is None:
            return Leaving(kind, when, fields, None, size, known.carries is not None)
        return Leaving(kind, when, fields, vector[0], size + vector[1], known.carries is not None)


def _open(messages: _Messages) -> Iterator[Leaving]:
    numbers = messages.layout.size
    update = f"the change of all {numbers:,} numbers of the model, readable by the coordinator"
    yield messages.reply("query.describe", "start")
    yield messages.reply("train", "round", update, numbers * FLOAT32_BYTES)
    yield messages.reply("evaluate", "end")
    yield messages.reply("evaluate.score", "end")


def _noisy(messages: _Messages) -> Iterator[Leaving]:
    numbers = messages.layout.size
    update = f"the change of all {numbers:,} numbers of the model, with noise, readable by the coordinator"
    promise = messages.study.privacy
    unpaid = ("validation",) if promise is None or promise.validation is None else ()
    yield messages.reply(noisy.PREPARE, "start")
    yield messages.reply(noisy.TRAIN, "round", update, numbers * FLOAT32_BYTES, without=unpaid)
    yield messages.reply(noisy.SETTLE, "end")


def _private(messages: _Messages) -> Iterator[Leaving]:
    study = messages.study
    yield messages.protocol(private.ADVERTISE, "start", secagg.ADVERT, "fresh public keys, signed")
    yield messages.protocol(private.JOIN, "start", 2 + HASH, "a checksum of all hospitals' keys")
    encoding = training_encoding(study, messages.layout)
    noise = " with noise," if study.distributed or study.privacy is not None else ""
    yield from _summed(messages, "round", encoding, f"{_numbers(study, encoding)}:{noise} masked")
    if study.validates:
        encoding = validation_encoding(study)
        words = f"{encoding.size:,} numbers: the last model's mean loss on validation patients, masked"
        yield from _summed(messages, "end", encoding, words)
    yield messages.protocol(private.FINISHED, "end", 0)


def _numbers(study: Study, encoding: Encoding) -> str:
    """How many numbers a round's update has, and what those are that the model does not train."""
    update = encoding.tensors[0][0] if study.distributed else encoding.parameters
    losses = encoding.scalars or encoding.parameters > update
    beside = "its weight and mean losses" if losses else "its weight"
    return f"{encoding.size:,} numbers, {update:,} of the update and {encoding.size - update:,} of {beside}"


def _summed(messages: _Messages, when: str, encoding: Encoding, words: str) -> Iterator[Leaving]:
    """One secure sum."""
    sites = len(messages.study.sites)
    upload = 2 + HASH + sites * HASH + (sites - 1) * secagg.packet_bytes(sites)
    shares = max(alive * (1 + sites - alive) for alive in range(1, sites + 1)) * SHARE_BYTES
    vector = f"{words}, so that only the sum over hospitals can be read", encoding.size * encoding.ring.bytes
    yield messages.protocol(private.UPLOAD, when, upload, "encrypted shares of the masks' keys", vector)
    yield messages.protocol(private.CONFIRM, when, 2 + HASH + secagg.SIGNATURE, "a signature over who is in the sum")
    yield messages.protocol(private.OPEN, when, 2 + HASH + shares, "shares that unmask the sum and nothing else")
    yield messages.protocol(private.ENDED, when, 0)
