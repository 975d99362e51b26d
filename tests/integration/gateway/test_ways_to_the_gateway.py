"""How a hospital's agent reaches the gateway, through proxies too, and what it says when it does not."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from fakes.callers import issued, other_authority
from fakes.federated import enrolment, until_alive
from fakes.proxies import INSPECTOR, inspector, proxy

from wardround.client.channel import Way
from wardround.client.federation import Connection, connect, enrol
from wardround.client.membership import site_credentials
from wardround.common.errors import WardroundError
from wardround.server.consortium import folder

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.federated import Federated

NAMES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def home(stand: Federated) -> Path:
    return stand.join("north")


def way(home: Path, address: str) -> Way:
    key, certificate, authority = site_credentials(home)
    return Way(address, key, certificate, authority)


def refusal(there: Way) -> WardroundError:
    with Connection(there) as connection, pytest.raises(WardroundError) as refused:
        connection.greet(0)
    return refused.value


def reached(there: Way) -> bool:
    with Connection(there) as connection:
        return connection.greet(0).site == "north"


def test_without_a_proxy(stand: Federated, home: Path) -> None:
    assert reached(way(home, stand.address))


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_through_a_proxy_that_resolves_the_name(
    stand: Federated, home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with proxy(stand.gateway.port) as hospital:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{hospital.port}")
        monkeypatch.setenv("no_proxy", "intranet.test")
        assert reached(way(home, stand.address))
        assert hospital.asked == [f"CONNECT {stand.address} HTTP/1.1"]


def test_a_host_that_no_proxy_names_is_called_directly(
    stand: Federated, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(stand.gateway.port) as hospital:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{hospital.port}")
        monkeypatch.setenv("no_proxy", "localhost")
        assert reached(way(home, stand.address))
        assert hospital.asked == []


@pytest.mark.parametrize("password", ["user:secret", "user:p@ss:wörd/%", "domain\\user:a b"])
def test_a_proxy_with_a_password(stand: Federated, home: Path, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    from urllib.parse import quote

    user, _, word = password.partition(":")
    with proxy(stand.gateway.port, password=password) as hospital:
        monkeypatch.setenv("https_proxy", f"http://{quote(user)}:{quote(word, safe='')}@127.0.0.1:{hospital.port}")
        assert reached(way(home, stand.address))
        monkeypatch.setenv("https_proxy", f"http://{quote(user)}:wrong@127.0.0.1:{hospital.port}")
        refused = refusal(way(home, stand.address))
    assert refused.code == "WR-1901"
    assert "another user or password" in refused.what
    assert word not in str(refused)
    assert "wrong" not in refused.what


def test_a_proxy_that_refuses(stand: Federated, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(stand.gateway.port, answer=b"HTTP/1.1 403 Forbidden\r\n\r\n") as hospital:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{hospital.port}")
        refused = refusal(way(home, stand.address))
    assert refused.code == "WR-1901"
    assert "it said 403" in refused.what


@pytest.mark.parametrize("url", ["https://proxy.test:3128", "socks5://proxy.test", "http://[", "http://proxy.test:x"])
def test_an_address_of_a_proxy_that_cannot_be_used(
    stand: Federated, home: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("https_proxy", url)
    with pytest.raises(WardroundError, match=r"WR-1901.*https_proxy is not"):
        Connection(way(home, stand.address))


def test_a_proxy_that_opens_tls_is_named(
    stand: Federated, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with proxy(stand.gateway.port, inspecting=inspector(tmp_path, "localhost", int(time.time()))) as hospital:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{hospital.port}")
        refused = refusal(way(home, stand.address))
        code, (request, _, _) = stand.invite("inspected"), enrolment("inspected")
        with pytest.raises(WardroundError, match="WR-1907"):
            enrol(code, request)
        monkeypatch.delenv("https_proxy")
        assert enrol(code, request).site == "inspected"  # the code was not used up
    assert refused.code == "WR-1907"
    assert INSPECTOR in refused.what


def test_a_name_that_is_not_known(home: Path) -> None:
    refused = refusal(way(home, "no-such-host.invalid:8443"))
    assert (refused.code, "not known here" in refused.what) == ("WR-1901", True)


def test_a_port_that_nobody_listens_on(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    refused = refusal(way(home, f"localhost:{port}"))
    assert (refused.code, "No connection" in refused.what) == ("WR-1901", True)


def test_a_server_that_speaks_no_tls(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answers() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                    connection.sendall(b"SSH-2.0-OpenSSH\r\n")
                    connection.close()
                except OSError:
                    return

        thread = threading.Thread(target=answers, daemon=True)
        thread.start()
        refused = refusal(way(home, f"localhost:{listening.getsockname()[1]}"))
    assert (refused.code, "does not speak TLS" in refused.what) == ("WR-1901", True)


def test_a_server_of_another_name(stand: Federated, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(stand.gateway.port) as hospital:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{hospital.port}")
        refused = refusal(way(home, "gateway.test:443"))
    assert (refused.code, "is not for gateway.test" in refused.what) == ("WR-1905", True)


def test_an_expired_certificate_of_ours_is_named_before_a_connection(stand: Federated, home: Path) -> None:
    path = stand.consortium.path
    authority = folder.read_pem(path / folder.CA), folder.read_key(path / folder.CA_KEY)
    old = issued(authority, "north", at=int(time.time()) - 90_000)
    with pytest.raises(WardroundError, match=r"WR-1905.*expired on"):
        Connection(Way(stand.address, old.key, old.certificate, site_credentials(home)[2]))


def test_a_certificate_that_the_gateway_does_not_take(stand: Federated, home: Path) -> None:
    stranger = issued(other_authority(), "north")
    refused = refusal(Way(stand.address, stranger.key, stranger.certificate, site_credentials(home)[2]))
    assert (refused.code, "does not take" in refused.what) == ("WR-1905", True)


def test_an_invite_code_of_another_server(stand: Federated) -> None:
    code, (request, _, _) = stand.invite("pinned"), enrolment("pinned")
    with pytest.raises(WardroundError, match="WR-1907"):
        enrol(code.model_copy(update={"pin": "0" * 64}), request)
    assert enrol(code, request).site == "pinned"


def test_the_same_request_is_answered_again_when_the_answer_was_lost(stand: Federated) -> None:
    code, (request, _, _) = stand.invite("twice"), enrolment("twice")
    first, again = enrol(code, request), enrol(code, request)
    assert first.certificate == again.certificate
    assert first.node_id == again.node_id != 0


def test_a_line_that_goes_dead_without_a_word_is_noticed_and_comes_back(
    stand: Federated, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(stand.gateway.port) as hospital:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{hospital.port}")
        with connect(home) as connection:
            until_alive(connection.watch())  # the first way through the proxy takes what it takes
            watch = connection.watch(silence=5.0)
            until_alive(watch)
            hospital.frozen.set()
            with pytest.raises(WardroundError, match=r"WR-1901.*not heard"):
                list(watch)
        hospital.frozen.clear()
        assert reached(way(home, stand.address))
