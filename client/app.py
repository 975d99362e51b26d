"""The Flower ClientApp: wiring only.

The node's configuration names the hospital's home folder. What the hospital refuses goes back as
an error with its code; of everything else, bugs and full disks, only that it happened leaves.
"""

from __future__ import annotations

from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Error, Message
from flwr.clientapp import ClientApp

from wardround.client.fault import HospitalFault, write_fault
from wardround.client.home import SETTINGS, Home
from wardround.client.hospital import Hospital, ResidentModel
from wardround.client.noisy import NoisyRounds
from wardround.client.secagg.wiring import discreetly, register
from wardround.common.errors import WardroundError
from wardround.common.wire import noisy
from wardround.common.wire.base import REFUSED
from wardround.common.wire.messages import Describe, Hello, HelloReply, Score, Train, Validate
from wardround.common.wire.records import pack, pack_vector, unpack
from wardround.common.wire.vectors import unpack_vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from flwr.app import Context, RecordDict

HOME_KEY = "wardround-home"
"""Key of the Flower node configuration under which the home folder's path stands."""

app = ClientApp()
_models: dict[bytes, ResidentModel] = {}


@lru_cache(maxsize=1024)
def _hospital(home: str, settings: tuple[int, int] | None) -> Hospital:  # noqa: ARG001 - part of the cache's key
    return Hospital(Home(Path(home)), _models)


def resident(home: str) -> Hospital:
    """The hospital of a home folder as it stays in memory between messages.

    Raises:
        WardroundError: WR-1305, its settings are damaged; WR-1601, it has not the processor that they ask for.
    """
    return _hospital(home, _settings_version(home))


def _settings_version(home: str) -> tuple[int, int] | None:
    """Changes when the hospital's settings file is written anew: nothing resident is trusted then."""
    try:
        found = (Path(home) / SETTINGS).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _answering(step: Callable[[Hospital, RecordDict], RecordDict]) -> Callable[[Message, Context], Message]:
    """Turn a step of a hospital into a Flower handler."""

    @wraps(step)
    def handler(message: Message, context: Context) -> Message:
        home = str(context.node_config[HOME_KEY])
        try:
            return Message(step(resident(home), message.content), reply_to=message)
        except WardroundError as error:
            return Message(Error(REFUSED, f"{error.code}: {error.what}"), reply_to=message)
        except Exception as error:  # its text must not leave: Flower would send it
            write_fault(home, error)
            raise HospitalFault from error

    return handler


@app.query("hello")
@_answering
def hello(hospital: Hospital, content: RecordDict) -> RecordDict:
    """Say which site this node is."""
    unpack(Hello, content)
    return pack(HelloReply(site=hospital.home.site))


@app.query("describe")
@_answering
def describe(hospital: Hospital, content: RecordDict) -> RecordDict:
    """Say how much training data this site brings."""
    return pack(hospital.describe(unpack(Describe, content)))


@app.train()
@_answering
def train(hospital: Hospital, content: RecordDict) -> RecordDict:
    """Train the model and send the update."""
    question = unpack(Train, content)
    reply, update = hospital.train(question, unpack_vector(content, hospital.model_size(question)))
    return pack(reply, pack_vector(update))


@app.evaluate()
@_answering
def validate(hospital: Hospital, content: RecordDict) -> RecordDict:
    """Score the model on the validation patients."""
    question = unpack(Validate, content)
    return pack(hospital.validate(question, unpack_vector(content, hospital.model_size(question))))


@app.evaluate("score")
@_answering
def score(hospital: Hospital, content: RecordDict) -> RecordDict:
    """Score the model patient by patient; the table stays here."""
    question = unpack(Score, content)
    return pack(hospital.score(question, unpack_vector(content, hospital.model_size(question))))


@app.query(noisy.PREPARE.partition(".")[2])
@_answering
@discreetly
def prepare(hospital: Hospital, content: RecordDict) -> RecordDict:
    """Check a study with differential privacy and reserve its budget."""
    return pack(NoisyRounds(hospital).prepare(unpack(noisy.Prepare, content)))


@app.train(noisy.TRAIN.partition(".")[2])
@_answering
@discreetly
def train_noisily(hospital: Hospital, content: RecordDict) -> RecordDict:
    """Pay for a round, train the model with noise and send the update."""
    question = unpack(noisy.TrainNoisy, content)
    reply, update = NoisyRounds(hospital).train(question, unpack_vector(content, hospital.model_size(question)))
    return pack(reply, pack_vector(update))


@app.query(noisy.SETTLE.partition(".")[2])
@_answering
@discreetly
def settle(hospital: Hospital, content: RecordDict) -> RecordDict:
    """Free what a run that is over never spent."""
    return pack(NoisyRounds(hospital).settle(unpack(noisy.Settle, content)))


register(app, _answering)
