"""Flower's SuperLink as a child process on loopback; nobody but this coordinator can speak to it usefully.

It keeps its state in memory. Its certificate authority, its keys and the secret for its tasks are made anew at every
start and lie in ``loopback/``. It ends when this process ends, however that happens.
"""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError
from wardround.server.files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.server.flower import Bundle, Control

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
_END_SECONDS: Final = 0.5
"""How long an ended connection precedes an ended process at most."""

_DAYS: Final = 3650 * 86_400
_SETTINGS: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_LOG_LEVEL": "WARNING",
    "FLWR_INTERNAL_GRPC_FLEET_API": "1",  # its Fleet API by gRPC: less processor time than the one over HTTP
}


class SuperLink:
    """A SuperLink that runs from :meth:`start` to :meth:`stop`.

    Args:
        folder: The coordinator's folder; ``loopback/`` and ``log/superlink.log`` are written in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "loopback"
        self._log = folder / "log" / "superlink.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._nodes: dict[bytes, int | None] = {}
        self._registering = threading.Lock()
        self.incarnation = ""
        self.address = ""
        self.fleet_address = ""
        self.root = b""

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """Of the process; 0: there is none."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers; it has another :attr:`incarnation` than ever before.

        Raises:
            WardroundError: WR-1922, it did not start; RuntimeError: it runs already.
        """
        if self.running:
            raise RuntimeError("the SuperLink runs already")
        self.stop()
        secret = self._credentials()
        port, fleet_port = _free_ports(2)
        self.address, self.fleet_address = f"{HOST}:{port}", f"{HOST}:{fleet_port}"
        self._log.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self._command(port),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                umask=0o077,
                env={**os.environ, **_SETTINGS, "FLWR_HOME": str(self._folder)},
            )
        from wardround.server.flower import Control, word_of

        self._tell(word_of(secret))
        try:
            self._wait(port)
        except WardroundError:
            self.stop()
            raise
        self._control, self._nodes = Control(self.address, self.root, secret), {}
        self.incarnation = secrets.token_hex(16)

    def stop(self) -> None:
        """End it; again does nothing."""
        self.incarnation = ""
        if self._control is not None:
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def register_node(self, public_key: bytes) -> int:
        """Register a node by its public key as Flower writes it (PEM); its id. A key that is known keeps its node.

        Raises:
            WardroundError: WR-1909, the key's node was taken out: Flower takes a key once; WR-1922.
        """
        with self._answering() as control, self._registering:
            if public_key not in self._nodes:
                self._nodes[public_key] = control.register_node(public_key)
            node = self._nodes[public_key]
        if node is None:
            fix = "Let the hospital join with a new node key, or restart the coordinator."
            raise WardroundError("WR-1909", "The node key belongs to a node that was taken out.", fix=fix)
        return node

    def unregister_node(self, node: int) -> None:
        """Take a node out: what waits for it is answered with an error."""
        with self._answering() as control, self._registering:
            control.unregister_node(node)
            self._nodes.update((key, None) for key, known in self._nodes.items() if known == node)

    def start_run(self, bundle: Bundle) -> int:
        """Start a Flower run; its id."""
        with self._answering() as control:
            return control.start_run(bundle)

    def stop_run(self, run: int) -> None:
        """End a Flower run."""
        with self._answering() as control:
            control.stop_run(run)

    def acquire(self) -> tuple[int, str] | None:
        """Take the next run that nobody works on: its id, and the token for a ``RuntimeGrid``."""
        with self._answering() as control:
            return control.acquire()

    @contextmanager
    def _answering(self) -> Iterator[Control]:
        """Whatever fails because the process has ended is WR-1922."""
        ended = WardroundError("WR-1922", "The SuperLink does not run.")
        process = self._process
        if self._control is None or process is None or process.poll() is not None:
            raise ended
        try:
            yield self._control
        except Exception as error:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                raise error from None
            raise ended from error

    def _credentials(self) -> bytes:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        now = int(time.time())
        authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        authority = certificates.make_authority(authority_key, "loopback", at=now, until=now + _DAYS)
        server = certificates.issue_server(
            authority, authority_key, key.public_key(), [HOST, "localhost"], at=now, until=now + _DAYS
        )
        secret = secrets.token_bytes(32)
        self.root = certificates.pem(authority).encode()
        write_private(self._folder / "ca.pem", self.root)
        write_private(self._folder / "server.pem", certificates.pem(server).encode())
        write_private(self._folder / "server.key", certificates.key_pem(key))
        write_private(self._folder / "tasks.secret", secret)
        return secret

    def _command(self, port: int) -> list[str]:
        folder = self._folder
        return [
            *(sys.executable, "-I", "-m", "wardround.server.flower"),
            *("--host", HOST, "--port", str(port), "--fleet-api-address", self.fleet_address),
            *("--ssl-certfile", str(folder / "server.pem"), "--ssl-keyfile", str(folder / "server.key")),
            *("--ssl-ca-certfile", str(folder / "ca.pem"), "--enable-supernode-auth"),
            *("--isolation", "process", "--superexec-auth-secret-file", str(folder / "tasks.secret")),
            "--disable-runtime-dependency-installation",
        ]

    def _tell(self, word: str) -> None:
        """Give it what opens its door; one that ended already is noticed in a moment."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(word.encode() + b"\n")
                self._process.stdin.flush()

    def _wait(self, port: int) -> None:
        trust = ssl.create_default_context(cadata=self.root.decode())
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.running:
            connection = http.client.HTTPSConnection(HOST, port, context=trust, timeout=2)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == http.client.OK:
                    return
            except OSError:
                time.sleep(0.02)
            finally:
                connection.close()
        what = "did not answer in time" if self.running else "ended while it started"
        raise WardroundError("WR-1922", f"The SuperLink {what}.")


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()
