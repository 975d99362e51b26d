"""What a real TLS 1.3 handshake makes of the certificates that a consortium issues and trusts."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from fakes.joining import NOW, Hospital

from wardround.common.crypto.certificates import invite_certificate, invite_key, key_pem, pem, pin_of, read_certificate
from wardround.server.consortium import create_consortium
from wardround.server.store.opening import clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

    from wardround.common.consortium.enrolment import InviteCode
    from wardround.server.consortium import Consortium


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    """Made now by the machine's clock, as TLS checks it."""
    with create_consortium(tmp_path / "wards", "wards", "localhost:443") as made:
        yield made


def by_grpc(consortium: Consortium, key: ec.EllipticCurvePrivateKey, certificate: str) -> str | None:
    """SHA-256 of the certificate that a gRPC server saw; None: the handshake failed."""

    def seen(_request: bytes, context: grpc.ServicerContext) -> bytes:
        (text,) = context.auth_context()["x509_pem_cert"]
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text.decode())).hexdigest().encode()

    from concurrent.futures import ThreadPoolExecutor

    now = clock()
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        handler = grpc.method_handlers_generic_handler("test", {"Seen": grpc.unary_unary_rpc_method_handler(seen)})
        server.add_generic_rpc_handlers((handler,))
        credentials = grpc.ssl_server_credentials(
            [consortium.server_credentials(now)], consortium.trusted_roots(now), require_client_auth=True
        )
        port = server.add_secure_port("localhost:0", credentials)
        server.start()
        authority = pem(consortium.certificate_authority).encode()
        mine = grpc.ssl_channel_credentials(authority, key_pem(key), certificate.encode())
        try:
            with grpc.secure_channel(f"localhost:{port}", mine) as channel:
                answer: bytes = channel.unary_unary("/test/Seen")(b"", timeout=10)
                return answer.decode()
        except grpc.RpcError:
            return None
        finally:
            server.stop(None).wait()


def holder(code: InviteCode) -> tuple[ec.EllipticCurvePrivateKey, str]:
    key = invite_key(bytes.fromhex(code.secret))
    return key, pem(invite_certificate(key))


def test_members_and_holders_of_open_invites_get_a_connection_and_nobody_else(consortium: Consortium) -> None:
    now, oak = clock(), Hospital("oak")
    admission = oak.join(consortium, now=now)
    codes = [consortium.invite(name, now=now) for name in ("elm", "ash")]
    seen = by_grpc(consortium, oak.tls, admission.certificate)
    assert seen is not None
    row = consortium.store.certificate(seen)
    assert row is not None
    assert row.site == "oak"
    for code, site in zip(codes, ("elm", "ash"), strict=True):
        key, certificate = holder(code)
        assert by_grpc(consortium, key, certificate) is not None
        invite = consortium.store.invite_by_pin(pin_of(read_certificate(certificate)))
        assert invite is not None
        assert invite.site == site
    withdrawn = codes[0]
    consortium.invite("elm", now=now)
    assert by_grpc(consortium, *holder(withdrawn)) is None
    stranger = withdrawn.model_copy(update={"secret": "ab" * 20})
    assert by_grpc(consortium, *holder(stranger)) is None


def test_a_certificate_of_another_consortium_gets_no_connection(consortium: Consortium, tmp_path: Path) -> None:
    oak = Hospital("oak")
    with create_consortium(tmp_path / "others", "wards", "localhost:443") as others:
        foreign = oak.join(others, now=clock())
        assert by_grpc(others, oak.tls, foreign.certificate) is not None
    assert by_grpc(consortium, oak.tls, foreign.certificate) is None


def test_a_certificate_that_ended_gets_no_connection(consortium: Consortium) -> None:
    now, oak = clock(), Hospital("oak")
    late = consortium.enrol(oak.request(now - 91 * 86_400), now=now - 91 * 86_400, invite_pin=None)
    assert by_grpc(consortium, oak.tls, late.certificate) is None
    renewed = consortium.renew(oak.name, oak.csr, now=now)
    assert by_grpc(consortium, oak.tls, renewed.certificate) is not None


@pytest.mark.parametrize("name", ["localhost", "elsewhere.example.org"])
def test_the_gateway_proves_its_name_and_shows_the_pin_of_the_invite(consortium: Consortium, name: str) -> None:
    code = consortium.invite("oak", now=NOW)
    key, certificate = consortium.server_credentials(clock())
    (consortium.path / "pair.pem").write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(consortium.path / "pair.pem")
    client = ssl.create_default_context(cadata=pem(consortium.certificate_authority))
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(theirs, server_side=True) as secured:
            secured.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        if name != "localhost":
            with pytest.raises(ssl.SSLCertVerificationError):
                client.wrap_socket(ours, server_hostname=name)
            return
        with client.wrap_socket(ours, server_hostname=name) as secured:
            shown = secured.getpeercert(binary_form=True)
            assert shown is not None
            assert pin_of(read_certificate(ssl.DER_cert_to_PEM_cert(shown))) == code.pin
            assert secured.version() == "TLSv1.3"
    finally:
        ours.close()
        thread.join()
