"""A proxy of a hospital's network: HTTP CONNECT, maybe with a password, maybe one that opens TLS to inspect it."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from wardround.common.crypto import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSPECTOR = "Web Security of the hospital"


@dataclass
class HospitalProxy:
    """Connects every name to one port of loopback.

    Attributes:
        target: That port.
        password: ``user:password`` that it asks for; None: nobody's.
        answer: What it says instead of connecting; None: it connects.
        inspecting: Opens TLS with this context.
        asked: First line of each request.
        names: What it was told for a name.
    """

    target: int
    password: str | None = None
    answer: bytes | None = None
    inspecting: ssl.SSLContext | None = None
    asked: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    frozen: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(4096)
            if not part:
                return
            head += part
        lines = head.decode("latin-1").split("\r\n")
        self.asked.append(lines[0])
        given = next((line.split(" ")[-1] for line in lines if line.lower().startswith("proxy-authorization:")), "")
        self.names.append(base64.b64decode(given).decode())
        if self.answer is not None:
            connection.sendall(self.answer)
            connection.close()
            return
        if self.password is not None and self.names[-1] != self.password:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            connection.close()
            return
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if self.inspecting is not None:
            try:
                connection = self.inspecting.wrap_socket(connection, server_side=True)
            except OSError:
                return
        away = socket.create_connection(("127.0.0.1", self.target))
        threading.Thread(target=self._pump, args=(connection, away), daemon=True).start()
        self._pump(away, connection)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(1 << 16):
                if not self.frozen.is_set():  # a frozen one loses what it reads, and closes nothing
                    sink.sendall(part)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()


@contextmanager
def proxy(
    target: int,
    *,
    password: str | None = None,
    answer: bytes | None = None,
    inspecting: ssl.SSLContext | None = None,
) -> Iterator[HospitalProxy]:
    """A proxy that listens while the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = HospitalProxy(target, password, answer, inspecting, port=listening.getsockname()[1])
        threading.Thread(target=made.serve, args=(listening,), daemon=True).start()
        try:
            yield made
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def inspector(folder: Path, name: str, now: int) -> ssl.SSLContext:
    """What a proxy needs to show a certificate of its own in a server's name."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificates.make_authority(authority_key, INSPECTOR, at=now, until=now + 86_400)
    shown = certificates.issue_server(authority, authority_key, key.public_key(), [name], at=now, until=now + 86_400)
    path = folder / "inspector.pem"
    path.write_bytes(certificates.key_pem(key) + certificates.pem(shown).encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["h2"])
    return context
