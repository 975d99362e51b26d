"""Flower's Control API (nodes and runs), and the part of its Runtime API that hands out tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flwr.proto import fab_pb2
from flwr.proto.control_pb2 import RegisterNodeRequest, StartRunRequest, StopRunRequest, UnregisterNodeRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from wardround.server.flower.door import Knock, word_of

if TYPE_CHECKING:
    from wardround.server.flower.bundles import Bundle


class Control:
    """The SuperLink's Control API, and the part of its Runtime API that hands out tasks.

    Args:
        address: ``host:port`` on loopback.
        root: Certificate that the SuperLink's is signed with, PEM.
        secret: What tells the SuperLink that it is us who asks.
    """

    def __init__(self, address: str, root: bytes, secret: bytes) -> None:
        version = RuntimeVersionHttpInterceptor(component_name="wardround")
        self._control = ControlHttpClient.from_server_address(
            address, False, root, interceptors=[version, Knock(word_of(secret))]
        )
        self._at = address, root
        self._secret = secret

    def register_node(self, public_key: bytes) -> int:
        """Register a node by its public key (PEM); its id."""
        return int(self._control.RegisterNode(RegisterNodeRequest(public_key=public_key)).node_id)

    def unregister_node(self, node: int) -> None:
        """Take a node out: what waits for it is answered with an error."""
        self._control.UnregisterNode(UnregisterNodeRequest(node_id=node))

    def start_run(self, of: Bundle) -> int:
        """Start a Flower run; its id."""
        fab = fab_pb2.Fab(hash_str=of.sha256, content=of.content)
        return int(self._control.StartRun(StartRunRequest(fab=fab)).run_id)

    def stop_run(self, run: int) -> None:
        """End a Flower run."""
        self._control.StopRun(StopRunRequest(run_id=run))

    def acquire(self) -> tuple[int, str] | None:
        """Take the next run that nobody works on.

        Returns:
            The run's id and the token under which a :class:`RuntimeGrid` works on it; None: there is none.
        """
        names = RuntimeVersionHttpInterceptor(component_name="SuperExec")
        ours = SuperExecAuthHttpInterceptor(
            master_secret=self._secret, protected_methods={"/flwr.proto.Runtime/AcquireTask"}
        )
        address, root = self._at
        with RuntimeHttpClient.from_server_address(address, False, root, interceptors=[names, ours]) as client:
            answer = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
        return (int(answer.task.run_id), str(answer.token)) if answer.HasField("task") else None

    def close(self) -> None:
        """Close the connection."""
        self._control.close()
