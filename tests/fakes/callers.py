"""Calls of a gateway as anybody could make them: any certificate, any header, any bytes."""

from __future__ import annotations

import os
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.primitives.asymmetric import sign_message

from wardround.client.link import public_key
from wardround.common.crypto import certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography import x509
    from fakes.federated import Federated

NO_CONNECTION = "no connection"

Headers = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class Case:
    """Something that must not work, and what must work for the refusal to mean anything.

    Attributes:
        name: What is tried.
        attempt: Tries it.
        refusal: :data:`NO_CONNECTION`, or gRPC status and ``WR`` code.
        control: The same with what belongs there.
    """

    name: str
    attempt: Callable[[], object]
    refusal: str
    control: Callable[[], object]


@dataclass(frozen=True)
class Shown:
    """What a caller shows in the handshake."""

    key: bytes
    certificate: bytes


def outcome(attempt: Callable[[], object]) -> str:
    """``accepted``, or how it was refused."""
    try:
        attempt()
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE and not (error.details() or "").startswith("WR-"):
            return NO_CONNECTION
        return f"{error.code().name} {(error.details() or '')[:7]}".strip()
    except OSError:
        return NO_CONNECTION
    return "accepted"


def check(case: Case) -> None:
    """The control is accepted, the attempt refused as expected, and the control accepted once more."""
    assert outcome(case.control) == "accepted", f"control of: {case.name}"
    assert outcome(case.attempt) == case.refusal, case.name
    assert outcome(case.control) == "accepted", f"control after: {case.name}"


def call(
    address: str, trusted: bytes, shown: Shown | None, method: str, body: bytes, *, headers: Headers = ()
) -> bytes:
    """One gRPC call on a connection of its own."""
    pair = (None, None) if shown is None else (shown.key, shown.certificate)
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(trusted, *pair), options=options) as channel:
        answer: bytes = channel.unary_unary(method)(body, metadata=headers, timeout=20)
    return answer


def handshake(
    stand: Federated, shown: Shown | None, oldest: ssl.TLSVersion, newest: ssl.TLSVersion, send: bytes = b""
) -> bytes:
    """A TLS connection by hand: HTTP/2's preface, ``send``, and all that comes back until it closes or falls silent.

    Raises:
        OSError: There is no connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates.pem(stand.consortium.certificate_authority))
    context.minimum_version, context.maximum_version = oldest, newest
    context.set_alpn_protocols(["h2"])
    if shown is not None:
        memory = os.memfd_create("shown")
        os.write(memory, shown.key + b"\n" + shown.certificate)
        context.load_cert_chain(f"/proc/self/fd/{memory}")
        os.close(memory)
    with (
        socket.create_connection(("127.0.0.1", stand.gateway.port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        connection.sendall(PREFACE + frame(4, 0, 0, b""))
        answer = connection.recv(1 << 16)
        if not answer:
            raise ConnectionResetError
        connection.settimeout(0.5)
        try:
            connection.sendall(send)
            while part := connection.recv(1 << 16) if send else b"":
                answer += part
        except OSError:  # closed, or silent
            return answer
        return answer


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content


def own_shown(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Shown:
    """From objects."""
    return Shown(certificates.key_pem(key), certificates.pem(certificate).encode())


def issued(
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    site: str,
    consortium: str = "Test consortium",
    *,
    at: int | None = None,
    seconds: int = 86_400,
) -> Shown:
    """A certificate in a site's name that nobody noted anywhere."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = int(time.time()) if at is None else at
    request = certificates.read_request(certificates.make_request(key))
    made = certificates.issue_site(*authority, request, consortium, site, at=now, until=now + seconds)
    return own_shown(made, key)


def other_authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate authority of the same name, with another key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), int(time.time())
    return certificates.make_authority(key, "Test consortium", at=now, until=now + 86_400), key


def signed_headers(key: ec.EllipticCurvePrivateKey, at: float | None = None, stamp: str | None = None) -> Headers:
    """What a node with this key puts into its calls."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    text = moment.isoformat() if stamp is None else stamp
    return (
        ("flwr-public-key-bin", public_key(key.public_key())),
        ("flwr-timestamp", text),
        ("flwr-signature-bin", sign_message(key, text.encode())),
    )


def without(headers: Headers, name: str, value: str | bytes | None = None) -> Headers:
    """Headers without one, or with another value of it."""
    kept = tuple(header for header in headers if header[0] != name)
    return kept if value is None else (*kept, (name, value))


def literal(headers: Sequence[tuple[str, str]]) -> bytes:
    """Header fields without compression (RFC 7541, section 6.2.2); names and values below 127 bytes."""
    fields = (bytes((0, len(name))) + name.encode() + bytes((len(value),)) + value.encode() for name, value in headers)
    return b"".join(fields)
