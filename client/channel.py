"""A gRPC connection to the gateway: mutual TLS 1.3, directly or through the hospital's proxy, and why it failed.

gRPC itself says little about a connection that does not come about. So after a failure the same way is gone once more
by hand, without sending anything, to see what is in it.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from wardround.common.crypto.certificates import read_certificate
from wardround.common.errors import REGISTRY, WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator

REACH_SECONDS: Final = 10.0
"""How long a look at what is in the way may take."""

LARGEST: Final = (2 << 30) - 1
"""Bytes of the largest message that is taken or given; the gateway has a lower cap."""

_REFUSAL: Final = re.compile(r"^(WR-[0-9]{4}): (.*)$", re.DOTALL)
_MOST_WORDS: Final = 500
SAYS: Final = "The coordinator says: "
"""Begins all words of the other side: what follows is not this program's."""

NOT_TAKEN: Final = "The gateway does not take this hospital's certificate."
_CODE: Final = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that opens connections by HTTP CONNECT.

    Attributes:
        host: Its name.
        port: Its port.
        user: None: it asks for nobody's name.
        password: Of the user.
    """

    host: str
    port: int
    user: str | None = None
    password: str = ""

    @property
    def url(self) -> str:
        """As gRPC wants it."""
        name = "" if self.user is None else f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return f"http://{name}{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Way:
    """Where the gateway is, and what each side shows the other.

    Attributes:
        address: ``host:port``.
        key: Private key of our certificate, PEM.
        certificate: Ours, PEM.
        trusted: Certificates, PEM; the gateway's must be one of them or be signed with one.
    """

    address: str
    key: bytes
    certificate: bytes
    trusted: bytes

    @property
    def host(self) -> str:
        """Of the address, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Of the address."""
        return int(self.address.rpartition(":")[2])


def proxy_for(host: str) -> Proxy | None:
    """The proxy that the environment names for a host (``https_proxy``, ``no_proxy``, in small or large letters).

    Raises:
        WardroundError: WR-1901, its address cannot be read, or is not ``http://``.
    """
    url = getproxies_environment().get("https", "")
    if not url or proxy_bypass(host):
        return None
    refusal = "https_proxy is not http://HOST:PORT or http://USER:PASSWORD@HOST:PORT."
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        name, port = parts.hostname, parts.port
    except ValueError:
        raise WardroundError("WR-1901", refusal) from None
    if parts.scheme != "http" or not name:
        raise WardroundError("WR-1901", refusal)
    user = None if parts.username is None else unquote(parts.username)
    return Proxy(name, port or 80, user, unquote(parts.password or ""))


def open_channel(way: Way) -> grpc.Channel:
    """A channel; it connects at the first call, and again when the connection was lost.

    Raises:
        WardroundError: WR-1901, the proxy's address cannot be read; WR-1905, our certificate has expired.
    """
    check_own(way)
    proxy = proxy_for(way.host)
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", LARGEST),
        ("grpc.max_send_message_length", LARGEST),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 10_000),
        ("grpc.use_local_subchannel_pool", 1),  # a renewed certificate gets a connection of its own
        ("grpc.enable_http_proxy", 0) if proxy is None else ("grpc.http_proxy", proxy.url),
    ]
    credentials = grpc.ssl_channel_credentials(way.trusted, way.key, way.certificate)
    return grpc.secure_channel(way.address, credentials, options=options)


@contextmanager
def refusals(way: Way) -> Iterator[None]:
    """Turn what gRPC raises into what people can act on.

    Raises:
        WardroundError: What the gateway refused with; WR-1901, it cannot be reached; WR-1905 and WR-1907, see
            :func:`look`; WR-1908, it does not know the call; WR-1910, the message is too large.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise _refusal(way, error.code(), error.details() or "") from error


def _refusal(way: Way, status: grpc.StatusCode, details: str) -> WardroundError:
    told = _REFUSAL.match(details)
    if told is not None and told[1] in REGISTRY:
        words = "".join(letter if letter.isprintable() else " " for letter in told[2])
        return WardroundError(told[1], f"{SAYS}{words[:_MOST_WORDS]}")
    if status is _CODE.UNAVAILABLE:
        return look(way)
    if status is _CODE.UNIMPLEMENTED:
        return WardroundError("WR-1908", "The gateway does not know this call.")
    if status is _CODE.RESOURCE_EXHAUSTED:
        return WardroundError("WR-1910", "The message is larger than the gateway's cap.")
    if status is _CODE.DEADLINE_EXCEEDED:
        return WardroundError("WR-1901", "The gateway did not answer in time.")
    return WardroundError("WR-1901", f"The connection to the gateway ended ({status.name}).")


def check_own(way: Way) -> None:
    """Refuse to connect with a certificate that is not valid now.

    Raises:
        WardroundError: WR-1905.
    """
    certificate, now = read_certificate(way.certificate), datetime.now(UTC)
    if now >= certificate.not_valid_after_utc:
        ended = certificate.not_valid_after_utc.date().isoformat()
        raise WardroundError("WR-1905", f"This hospital's certificate expired on {ended}.")
    if now < certificate.not_valid_before_utc:
        raise WardroundError("WR-1905", "This hospital's certificate is not valid yet: the machine's clock is behind.")


def look(way: Way) -> WardroundError:
    """Why no connection comes about, as far as it can be seen from here."""
    try:
        check_own(way)
        shown = shown_certificate(way)
        _check_shown(way, shown)
        _check_taken(way)
    except WardroundError as error:
        return error
    return WardroundError("WR-1901", "The gateway could not be reached a moment ago.")


def shown_certificate(way: Way) -> x509.Certificate:
    """The certificate that the other end shows, unchecked.

    Raises:
        WardroundError: WR-1901, there is no TLS 1.3 server that can be reached.
    """
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    plain.set_alpn_protocols(["h2"])
    with _connected(way) as raw:
        try:
            with plain.wrap_socket(raw, server_hostname=way.host) as connection:
                shown = connection.getpeercert(binary_form=True)
        except OSError as error:
            what = f"What answers at {way.address} does not speak TLS ({type(error).__name__})."
            raise WardroundError("WR-1901", what) from error
    if shown is None:
        raise WardroundError("WR-1901", f"What answers at {way.address} shows no certificate.")
    return x509.load_der_x509_certificate(shown)


def _check_shown(way: Way, shown: x509.Certificate) -> None:
    """Refuse a certificate that nobody whom we trust has signed, and one that has ended or names another host."""
    trusted = x509.load_pem_x509_certificates(way.trusted)
    if not any(shown == one or _signed(shown, one) for one in trusted):
        issuer = "".join(letter for letter in shown.issuer.rfc4514_string() if letter.isprintable())[:100]
        raise WardroundError("WR-1907", f"The certificate that {way.address} shows was issued by {issuer!r}.")
    now = datetime.now(UTC)
    if not shown.not_valid_before_utc <= now < shown.not_valid_after_utc:
        raise WardroundError("WR-1905", "The gateway's certificate is not valid today.")
    if not _names(shown, way.host):
        raise WardroundError("WR-1905", f"The gateway's certificate is not for {way.host}.")


def _check_taken(way: Way) -> None:
    """Refuse where the gateway does not take our certificate, which TLS 1.3 says after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it was looked at before
    context.set_alpn_protocols(["h2"])
    _load(context, way)
    try:
        with _connected(way) as raw, context.wrap_socket(raw, server_hostname=way.host) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            taken = bool(connection.recv(9))
    except OSError:
        taken = False
    if not taken:
        raise WardroundError("WR-1905", NOT_TAKEN)


def _connected(way: Way) -> socket.socket:
    proxy = proxy_for(way.host)
    host, port = (way.host, way.port) if proxy is None else (proxy.host, proxy.port)
    where = f"{host}:{port}" if proxy is None else f"the proxy {host}:{port}"
    try:
        raw = socket.create_connection((host, port), timeout=REACH_SECONDS)
    except socket.gaierror as error:
        raise WardroundError("WR-1901", f"The name {host} is not known here.") from error
    except OSError as error:
        raise WardroundError("WR-1901", f"No connection to {where} ({type(error).__name__}).") from error
    if proxy is not None:
        try:
            _tunnelled(raw, way, proxy)
        except BaseException:
            raw.close()
            raise
    return raw


def _tunnelled(raw: socket.socket, way: Way, proxy: Proxy) -> None:
    lines = [f"CONNECT {way.address} HTTP/1.1", f"Host: {way.address}"]
    if proxy.user is not None:
        name = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {name}")
    answer = b""
    try:
        raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in answer and len(answer) < 1 << 16:
            part = raw.recv(1)  # not a byte of what follows
            if not part:
                break
            answer += part
    except OSError as error:
        raise WardroundError("WR-1901", f"The proxy {proxy.host} broke off ({type(error).__name__}).") from error
    said = answer.split(b" ", 2)
    status = said[1].decode("ascii", "replace")[:3] if len(said) > 1 else "nothing"
    if status == "407":
        fix = "Give user and password: https_proxy=http://USER:PASSWORD@HOST:PORT, special letters as %XX."
        raise WardroundError("WR-1901", f"The proxy {proxy.host} wants another user or password.", fix=fix)
    if status != "200":
        raise WardroundError("WR-1901", f"The proxy {proxy.host} does not connect to {way.address}: it said {status}.")


def _signed(shown: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        shown.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(shown: x509.Certificate, host: str) -> bool:
    try:
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return host in addresses or host.lower() in {name.lower() for name in names.get_values_for_type(x509.DNSName)}


def _load(context: ssl.SSLContext, way: Way) -> None:
    """Key and certificate, which Python reads from a file only: one in memory, without a name."""
    memory = os.memfd_create("wardround", os.MFD_CLOEXEC)
    try:
        os.write(memory, way.key + b"\n" + way.certificate)
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
