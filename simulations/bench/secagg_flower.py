"""Flower's side of ``bench secagg``: whole rounds of its SecAgg+ among clients of this process.

Its client is ``secaggplus_mod``, its server ``SecAggPlusWorkflow``, both as they stand; a grid that
hands messages over in memory replaces the network. A client's time counts from the end of training
until its reply is made, the server's from the arrival of all masked updates until the mean is
decoded, without the time that clients need to answer. Only in a process of its own: Flower keeps
the identity of a task in global variables.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, parameters_to_arrayrecord
from flwr.server import LegacyContext
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp import Grid
from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from flwr.common import Scalar
    from flwr.server.client_manager import ClientManager
    from flwr.server.client_proxy import ClientProxy
    from flwr.supercore.run import Run
    from numpy.typing import NDArray

    from wardround.common.vector import Vector

RUN: Final = 1
SERVER: Final = 1
RECORD: Final = "secaggplus_configs"
MASKED: Final = "masked_params"


@dataclass(slots=True)
class FlowerRound:
    """What a round took.

    Attributes:
        client_seconds: Of each client that masked a whole update.
        server_seconds: From all masked updates to the mean.
        mean: The mean that the server decoded, shape ``[P]``; of no meaning where stand-ins took part.
        bytes_up: Of one client's masked update.
        peak_mb: Most memory that a client held after training above what it held then, if that was traced.
    """

    client_seconds: list[float] = field(default_factory=list)
    server_seconds: float = 0.0
    mean: Vector = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    bytes_up: int = 0
    peak_mb: float = 0.0


def play_round(
    update: Vector,
    weights: Sequence[int],
    *,
    arrays: int,
    threshold: int,
    dropped: int = 0,
    whole: int | None = None,
    trace: bool = False,
) -> FlowerRound:
    """One round in which every client has the same update.

    Args:
        update: Shape ``[P]``.
        weights: Of each client, at most 1000.
        arrays: How many arrays the update is cut into, as a model's layers are.
        threshold: Shares that recover a secret; every client shares with all others.
        dropped: How many clients fall silent before they upload.
        whole: How many clients mask the update; the others mask nothing and send the reply of the
            one before them, which costs the server the same. All of them by default.
        trace: Measure a client's memory, not its time.
    """
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, SERVER, 1
    everybody = len(weights)
    masking = everybody if whole is None else whole
    clients = _Clients(update, weights, arrays=arrays, dropped=dropped, whole=masking, trace=trace)
    grid = _Grid(clients.answer)
    strategy = _Strategy([GridClientProxy(node, grid, RUN) for node in clients.nodes])
    _workflow(everybody, threshold)(grid, _context(strategy))
    found = clients.found
    _, (_, uploaded), (asked, opened) = grid.waits[1:]
    found.server_seconds = strategy.decoded - uploaded - (opened - asked)
    found.mean = np.concatenate([part.ravel() for part in strategy.mean])
    return found


def share_secrets(holders: int, threshold: int) -> None:
    """What a client does in a round: shares of its mask seed and of its private key."""
    private, _ = generate_key_pairs()
    create_shares(os.urandom(32), threshold, holders)
    create_shares(private_key_to_bytes(private), threshold, holders)


def recover_secrets(holders: int, threshold: int) -> Callable[[], object]:
    """A call that does what a server does in a round without drops: one secret of every client, from all shares."""
    shares = [create_shares(os.urandom(32), threshold, holders) for _ in range(holders)]
    return lambda: [combine_shares(of_one) for of_one in shares]


class _Clients:
    """Clients that hold their update already when they are asked to train."""

    def __init__(
        self, update: Vector, weights: Sequence[int], *, arrays: int, dropped: int, whole: int, trace: bool
    ) -> None:
        self.nodes = [SERVER + 1 + number for number in range(len(weights))]
        self.found = FlowerRound()
        self._contexts = {node: Context(RUN, node, {}, RecordDict(), {}) for node in self.nodes}
        self._weights = dict(zip(self.nodes, weights, strict=True))
        self._update = ndarrays_to_parameters(np.array_split(update, arrays))
        self._nothing = ndarrays_to_parameters([])
        self._whole = set(self.nodes[:whole])
        self._silent = set(self.nodes[len(self.nodes) - dropped :])
        self._trace = trace
        self._trained: float | None = None
        self._masked: ConfigRecord | None = None

    def answer(self, message: Message) -> Message | None:
        """A client's reply; None of a client that has fallen silent."""
        node = message.metadata.dst_node_id
        self._trained = None
        reply = secaggplus_mod(_delivered(message), self._contexts[node], self._train)
        if self._trained is None:
            return reply
        self._uploaded(node, reply)
        return None if node in self._silent else reply

    def _train(self, message: Message, context: Context) -> Message:
        """Training's end; what Flower's client does after it is measured from here."""
        whole = context.node_id in self._whole
        parameters = self._update if whole else self._nothing
        result = FitRes(Status(Code.OK, ""), parameters, self._weights[context.node_id], {})
        reply = Message(fitres_to_recorddict(result, keep_input=True), reply_to=message)
        if whole and self._trace:
            tracemalloc.start()
        self._trained = time.perf_counter()
        return reply

    def _uploaded(self, node: int, reply: Message) -> None:
        if node not in self._whole:
            if self._masked is None:
                raise RuntimeError("the first client masks its update")
            reply.content.config_records[RECORD] = self._masked
            return
        self.found.client_seconds.append(time.perf_counter() - cast("float", self._trained))
        if self._trace:
            self.found.peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
        self._masked = reply.content.config_records[RECORD]
        self.found.bytes_up = sum(map(len, cast("list[bytes]", self._masked[MASKED])))


def _delivered(message: Message) -> Message:
    """A message with records of its own: clients change what they are given, and messages share records."""
    content = RecordDict({name: ConfigRecord(dict(record)) for name, record in message.content.config_records.items()})
    for name, record in message.content.items():
        if name not in content:
            content[name] = record
    return Message(content=content, metadata=message.metadata)  # type: ignore[call-overload,no-any-return]


class _Grid(Grid):
    """Hands messages to clients of this process, and notes when the server waited for them."""

    def __init__(self, answer: Callable[[Message], Message | None]) -> None:
        self.waits: list[tuple[float, float]] = []
        self._answer = answer

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Ask the clients one after the other."""
        del timeout
        begin = time.perf_counter()
        replies = [reply for message in messages if (reply := self._answer(message)) is not None]
        self.waits.append((begin, time.perf_counter()))
        return replies

    def set_run(self, run: Run) -> None:
        """Not asked for."""
        raise NotImplementedError

    @property
    def run(self) -> Run:
        """Not asked for."""
        raise NotImplementedError

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Not asked for."""
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        """Not asked for."""
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Not asked for."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Not asked for."""
        raise NotImplementedError


class _Strategy(FedAvg):
    """Asks all clients to train, and notes when the mean was decoded."""

    def __init__(self, proxies: list[ClientProxy]) -> None:
        super().__init__()
        self._proxies = proxies
        self.decoded = 0.0
        self.mean: list[NDArray[Any]] = []

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """The model is not sent: nothing that is measured depends on it."""
        del server_round, client_manager
        return [(proxy, FitIns(parameters, {})) for proxy in self._proxies]

    def aggregate_fit(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, FitRes]],
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """Take the mean; the workflow has just serialised it, which is not decoding, so that time is taken off."""
        del server_round, failures
        arrived = time.perf_counter()
        self.mean = parameters_to_ndarrays(results[0][1].parameters)
        begin = time.perf_counter()
        ndarrays_to_parameters(self.mean)
        self.decoded = arrived - (time.perf_counter() - begin)
        return None, {}


def _workflow(clients: int, threshold: int) -> SecAggPlusWorkflow:
    return SecAggPlusWorkflow(num_shares=clients, reconstruction_threshold=threshold)


def _context(strategy: FedAvg) -> LegacyContext:
    """What a server holds before its first round, with a model of nothing."""
    context = LegacyContext(Context(RUN, SERVER, {}, RecordDict(), {}), strategy=strategy)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
    nothing = parameters_to_arrayrecord(ndarrays_to_parameters([]), keep_input=True)
    context.state.array_records[MAIN_PARAMS_RECORD] = nothing
    return context
