"""The service that agents speak with the gateway, call by call, on a real consortium."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.proposals import open_study
from grpc_health.v1 import health_pb2

from wardround.client import federation
from wardround.client.federation import connect
from wardround.client.membership import site_credentials, store_certificate
from wardround.common.consortium.studies import Decision, SignedDecision
from wardround.common.crypto import certificates
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.privacy.witness import Head, SignedHead
from wardround.common.wire import federation as wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.federated import Federated

    from wardround.client.federation import Connection
    from wardround.common.study import Study

NONCE = "5" * 64


@pytest.fixture(scope="module")
def home(stand: Federated) -> Path:
    return stand.join("north")


@pytest.fixture
def connection(home: Path) -> Iterator[Connection]:
    with connect(home) as opened:
        yield opened


def test_greeting(stand: Federated, connection: Connection) -> None:
    newest = stand.consortium.store.newest_roster()
    assert newest is not None
    welcome = connection.greet(newest.roster.version)
    assert (welcome.site, welcome.consortium, welcome.protocol) == ("north", "Test consortium", 1)
    assert welcome.node_id == stand.gateway.nodes()["north"]
    assert (welcome.incarnation, welcome.bundle) == (stand.superlink.incarnation, wire.BUNDLE)
    row = stand.consortium.store.site(SiteId("north"))
    assert row is not None
    assert (row.release, row.roster) == (federation.RELEASE, newest.roster.version)
    assert "north" in stand.gateway.last_heard()
    for never_signed in (newest.roster.version + 1, 2**53 - 1):
        connection.greet(never_signed)
        assert (told := stand.consortium.store.site(SiteId("north"))) is not None
        assert told.roster == 0


def test_a_release_that_speaks_no_common_protocol_is_told_and_gets_no_further(
    stand: Federated, home: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, link = stand.link(home)
    with monkeypatch.context() as patch:
        patch.setattr(wire, "PROTOCOLS", (1, 2))  # both sides of this process
        assert connection.greet(0).protocol == 2  # the newest that both speak
        connection._serialise = lambda *_: wire.Greet(release="9", protocols=(7, 8), roster=0).canonical()
        with pytest.raises(WardroundError, match="WR-1908"):
            connection.greet(0)
        with pytest.raises(WardroundError, match="WR-1908"):
            link.heartbeat()
    with connect(home) as mended:
        assert mended.greet(0).protocol == 1
    assert link.heartbeat()


def test_a_gateway_that_speaks_another_protocol_is_refused_by_the_hospital(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connection.greet(0).protocol == 1
    welcomed = connection._call
    monkeypatch.setattr(connection, "_call", lambda *asked: welcomed(*asked).model_copy(update={"protocol": 9}))
    with pytest.raises(WardroundError, match="WR-1908"):
        connection.greet(0)


def test_renewal(stand: Federated, home: Path, connection: Connection) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    renewed = connection.renew(certificates.make_request(key))
    before = site_credentials(home)
    store_certificate(home, certificates.key_pem(key), renewed.certificate, renewed.certificate_authority)
    assert site_credentials(home)[1] != before[1]
    with connect(home) as after:
        assert after.greet(0).site == "north"
    assert connection.greet(0).site == "north"  # the older one holds until it ends
    with pytest.raises(WardroundError, match="WR-1902"):
        connection.renew("no request")
    assert stand.is_member("north")


def proposed(stand: Federated, *sites: str) -> Study:
    for site in sites:
        if not stand.is_member(site):
            stand.join(site)
    study = open_study(sites=list(sites), name=f"study-{time.monotonic_ns()}")
    stand.consortium.propose(study, "Dr. Lee", now=int(time.time()))
    return study


def test_studies_rosters_and_decisions(stand: Federated, connection: Connection) -> None:
    ours, theirs = proposed(stand, "north", "south", "east"), proposed(stand, "south", "east", "west")
    found = [proposal.verified(stand.consortium.authority.public.hex()).study_id for proposal in connection.studies()]
    assert ours.id in found
    assert theirs.id not in found
    roster = connection.roster()
    roster.verify()
    assert roster == stand.consortium.store.newest_roster()
    stranger = SigningKey.generate(os.urandom)
    decision = Decision(
        consortium="Test consortium", study=ours.id, site="north", verdict="approved", by="Ms. Roe", at=int(time.time())
    )
    with pytest.raises(WardroundError, match="WR-1903"):
        connection.decide(SignedDecision.sign(decision, stranger))
    connection.decide(SignedDecision.sign(decision, stand.identity("north")))
    assert stand.consortium.approvals(ours.id) == ("north",)
    connection.decide(SignedDecision.sign(decision, stand.identity("north")))  # sent again: nothing changes
    assert len(stand.consortium.store.decision_history(ours.id)) == 1


def test_reports(stand: Federated, connection: Connection) -> None:
    report = wire.Report(state="refusing", reason="WR-1918", device="none")
    connection.report(report)
    row = stand.consortium.store.site(SiteId("north"))
    assert row is not None
    assert row.report == report


def test_the_witness_of_ledgers(stand: Federated, connection: Connection) -> None:
    head = Head(site="north", incarnation="1" * 32, sequence=4, digest="2" * 64, committed="2" * 64, ceiling=None)
    signed = SignedHead.sign(head, NONCE, stand.identity("north"))
    assert connection.witness(signed, NONCE).newest is None
    answer = connection.witness(None, NONCE)
    assert answer.newest == signed
    with pytest.raises(WardroundError, match="WR-1816"):
        connection.witness(SignedHead.sign(head, NONCE, SigningKey.generate(os.urandom)), NONCE)
    other = SignedHead.sign(head.model_copy(update={"site": "south"}), NONCE, stand.identity("north"))
    with pytest.raises(WardroundError, match="WR-1909"):
        connection.witness(other, NONCE)


def test_events(stand: Federated, connection: Connection) -> None:
    watch = connection.watch()
    assert watch.wait(10) in {"alive", "work"}
    proposed(stand, "north", "south", "east")  # as another process would: through the database alone
    assert next(event for event in watch if event not in {"alive", "roster"}) == "studies"  # its sites joined, too
    stand.join("newcomer")
    assert next(event for event in watch if event != "alive") == "roster"
    stand.gateway.announce("superlink")
    assert next(event for event in watch if event != "alive") == "superlink"
    stand.gateway.wake([stand.gateway.nodes()["south"]])
    stand.gateway.wake([stand.gateway.nodes()["north"]])
    assert next(event for event in watch if event != "alive") == "work"
    assert watch.wait(0.01) is None
    assert "north" in stand.gateway.watching
    watch.close()


def test_who_was_not_there_is_woken_when_it_comes(stand: Federated, home: Path) -> None:
    with connect(home) as connection:
        watch = connection.watch()
        assert watch.wait(10) in {"alive", "work"}
        watch.close()
    while "north" in stand.gateway.watching:
        time.sleep(0.01)
    stand.gateway.wake([stand.gateway.nodes()["north"]])
    with connect(home) as connection:
        assert connection.watch().wait(10) == "work"


def test_a_second_stream_ends_the_first(connection: Connection) -> None:
    first = connection.watch()
    assert first.wait(10) in {"alive", "work"}
    second = connection.watch()
    assert second.wait(10) == "alive"
    with pytest.raises(WardroundError, match="WR-1901"):
        list(first)
    assert second.wait(0.01) is None
    second.close()


def test_health(stand: Federated, connection: Connection) -> None:
    def state(service: str) -> int:
        asked = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        answer = connection.channel.unary_unary("/grpc.health.v1.Health/Check")(asked, timeout=20)
        return int(health_pb2.HealthCheckResponse.FromString(answer).status)

    serving, unknown = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert [state(""), state("wardround.Federation"), state("other")] == [serving, serving, unknown]
    with pytest.raises(grpc.RpcError) as refused:
        connection.channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff", timeout=20)
    assert (refused.value.details() or "").startswith("WR-1902")
    assert stand.superlink.running


def test_a_joined_home_without_a_file_says_which(home: Path, tmp_path: Path) -> None:
    with pytest.raises(WardroundError, match=r"WR-1914.*site.key"):
        connect(tmp_path)
    key = home / "node.key"
    assert key.stat().st_mode & 0o077 == 0
    (home / "tls" / "site.key").chmod(0o644)
    try:
        with pytest.raises(WardroundError, match=r"WR-1914.*open to other accounts"):
            connect(home)
    finally:
        (home / "tls" / "site.key").chmod(0o600)
    connect(home).close()
