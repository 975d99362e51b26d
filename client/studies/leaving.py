"""Every kind of message that leaves a hospital in a study, with its fields and bytes.

Kinds and fields are those of the classes in :mod:`wardround.common.wire`; bytes follow from the model's layout and the
number of sites. Nothing here looks at data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from wardround.common.rounds.encodings import training_encoding
from wardround.common.secagg import messages as secagg
from wardround.common.secagg.context import HASH
from wardround.common.secagg.shamir import SHARE_BYTES
from wardround.common.wire import noisy, private
from wardround.common.wire.messages import Description, HelloReply, Scored, Trained, Validated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.common.study import Study
    from wardround.common.vector import Layout
    from wardround.common.wire.base import SiteReply

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


@dataclass(frozen=True, slots=True)
class Leaving:
    """One kind of message that leaves the hospital.

    Attributes:
        kind: Flower message type.
        when: ``start``, ``round`` or ``end``: at the start of a run, in every round, at its end.
        fields: Of the reply, in words.
        vector: The vector that goes with it, in words; None: there is none.
        size: Largest number of bytes of the vector and of protocol bytes; fields, which come on top, have about 200.
    """

    kind: str
    when: str
    fields: tuple[str, ...]
    vector: str | None = None
    size: int = 0

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def leaving(study: Study, layout: Layout, *, scored: bool = False) -> tuple[Leaving, ...]:
    """Everything that a study makes leave, in the order in which it does.

    Args:
        study: The study.
        layout: Of its model.
        scored: Whether the site's policy lets a coordinator have models scored here in studies that are private or
            make a promise; in others it always may.

    Raises:
        WardroundError: WR-1002 or WR-1805, no secure sum can be made of the study.
    """
    hello = _message("query.hello", "start", HelloReply)
    if not study.private and study.privacy is None:
        return (hello, *_open(layout))
    scores = (_message("evaluate.score", "end", Scored),) if scored else ()
    return (hello, *(_private(study, layout) if study.private else _noisy(layout)), *scores)


def bytes_a_round(messages: tuple[Leaving, ...]) -> int:
    """Most bytes that leave in one round that succeeds at once, without the fields."""
    return sum(message.size for message in messages if message.when == "round")


def _open(layout: Layout) -> Iterator[Leaving]:
    update = f"the change of all {layout.size:,} numbers of the model, readable by the coordinator"
    yield _message("query.describe", "start", Description)
    yield _message("train", "round", Trained, update, layout.size * FLOAT32_BYTES)
    yield _message("evaluate", "end", Validated)
    yield _message("evaluate.score", "end", Scored)


def _noisy(layout: Layout) -> Iterator[Leaving]:
    update = f"the change of all {layout.size:,} numbers of the model, with noise, readable by the coordinator"
    yield _message(noisy.PREPARE, "start", noisy.Ready)
    yield _message(noisy.TRAIN, "round", noisy.TrainedNoisy, update, layout.size * FLOAT32_BYTES)
    yield _message(noisy.SETTLE, "end", noisy.Ready)


def _private(study: Study, layout: Layout) -> Iterator[Leaving]:
    encoding, sites = training_encoding(study, layout), len(study.sites)
    noise = " with noise," if study.distributed or study.privacy is not None else ""
    masked = f"{encoding.size:,} numbers:{noise} masked, so that only the sum over hospitals can be read"
    vector = encoding.size * study.ring_bits // 8
    upload = 2 + HASH + sites * HASH + (sites - 1) * secagg.packet_bytes(sites)
    shares = max(alive * (1 + sites - alive) for alive in range(1, sites + 1)) * SHARE_BYTES
    yield _protocol(private.ADVERTISE, "start", secagg.ADVERT, "fresh public keys, signed")
    yield _protocol(private.JOIN, "start", 2 + HASH, "a checksum of all hospitals' keys")
    yield _protocol(private.UPLOAD, "round", vector + upload, "encrypted shares of the masks' keys", masked)
    yield _protocol(private.CONFIRM, "round", 2 + HASH + secagg.SIGNATURE, "a signature over who is in the sum")
    yield _protocol(private.OPEN, "round", 2 + HASH + shares, "shares that unmask the sum and nothing else")
    yield _protocol(private.ENDED, "round", 0)
    yield _protocol(private.FINISHED, "end", 0)


def _protocol(kind: str, when: str, size: int, content: str | None = None, vector: str | None = None) -> Leaving:
    """A reply of the secure sum, whose bytes are told apart here."""
    site = FIELD_WORDS["site"]
    return Leaving(kind, when, (site,) if content is None else (site, content), vector, size)


def _message(kind: str, when: str, reply: type[SiteReply], vector: str | None = None, size: int = 0) -> Leaving:
    return Leaving(kind, when, tuple(FIELD_WORDS[name] for name in reply.model_fields), vector, size)
