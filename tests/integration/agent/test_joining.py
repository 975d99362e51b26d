"""Joining as the handbook has it: by code and by files, then the roster, by commands."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from fakes.federated import federated
from typer.testing import CliRunner

from wardround.client.agent.news import roster_version
from wardround.client.egress import read_egress
from wardround.client.federation import connect
from wardround.client.home import Home
from wardround.client.identity import accepted_roster, site_key
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.privacy.witness import SignedHead
from wardround.simulations.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result
    from fakes.federated import Federated


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federated]:
    with federated(tmp_path_factory.mktemp("joining")) as started:
        yield started


def hospital(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["hospital", *map(str, arguments)])


def said(*arguments: object) -> dict[str, Any]:
    found = hospital(*arguments, "--json")
    assert found.exit_code == 0, found.output + repr(found.exception)
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def refused(*arguments: object) -> str:
    found = hospital(*arguments)
    assert found.exit_code != 0
    return str(found.exception)[:7]


def test_by_code_and_the_roster_by_fingerprint(stand: Federated, tmp_path: Path) -> None:
    home = tmp_path / "north"
    joined = said("join", stand.invite("north").text(), "--home", home, "--site", "north", "--label", "Klinikum Nord")
    assert joined["fingerprint"] == joined["roster"]["members"]["north"]["fingerprint"]
    assert home.stat().st_mode & 0o777 == 0o700
    for key in ("identity.key", "node.key", "tls/site.key", "patient.key"):
        assert (home / key).stat().st_mode & 0o777 == 0o600
    assert not (home / "joining").exists()
    assert [line.kind for line in read_egress(home)] == ["Enrol"]

    shown = said("roster", "--home", home)
    assert shown["accepted"] is None
    wrong = "0" * 40
    assert refused("roster", "accept", wrong, "--by", "A. Tester", "--home", home) == "WR-1702"
    assert refused("roster", "accept", shown["offered"]["fingerprint"], "--by", " ", "--home", home) == "WR-1919"
    said("roster", "accept", shown["offered"]["fingerprint"], "--by", "A. Tester", "--home", home)
    assert accepted_roster(Home(home)).fingerprint == shown["offered"]["fingerprint"]
    assert said("roster", "--home", home)["offered"] is None
    assert "Klinikum Nord" in hospital("roster", "--home", home).stdout


def test_the_newest_roster_is_asked_for_before_any_agent_runs(stand: Federated, tmp_path: Path) -> None:
    early, later = tmp_path / "early", tmp_path / "later"
    said("join", stand.invite("early").text(), "--home", early, "--site", "early")
    newest = said("join", stand.invite("later").text(), "--home", later, "--site", "later")["roster"]
    old = said("roster", "--offline", "--home", early)  # the positive control
    assert (old["asked"], "later" in old["offered"]["members"]) == (False, False)
    refusal = hospital("roster", "accept", newest["fingerprint"], "--by", "A. Tester", "--home", early).exception
    assert "wardround hospital roster asks the coordinator for the newest one" in refusal.fix  # type: ignore[union-attr]
    assert not said("roster", "--home", early)["asked"]  # nobody listens where the test's consortium says it does
    membership = early / "membership.toml"
    membership.write_text(membership.read_text().replace("localhost:8443", stand.address))
    shown = said("roster", "--home", early)
    assert (shown["asked"], shown["offered"]["fingerprint"]) == (True, newest["fingerprint"])
    said("roster", "accept", newest["fingerprint"], "--by", "A. Tester", "--home", early)


def test_by_files_in_a_network_of_its_own(stand: Federated, tmp_path: Path) -> None:
    home, request, admission = tmp_path / "coast", tmp_path / "request.json", tmp_path / "admission.json"
    asked = said("join", "--request", request, "--home", home, "--site", "coast")
    said("join", "--request", tmp_path / "again.json", "--home", home)
    assert (tmp_path / "again.json").read_bytes() == request.read_bytes()
    assert b"PRIVATE" not in request.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wardround.client.agent.cli._gate", lambda _: pytest.fail("files need no network"))
        command = ["coordinator", "sites", "add", str(request), "--out", str(admission), "--dir", _coordinator(stand)]
        found = CliRunner().invoke(app, [*command, "--json"])
        assert found.exit_code == 0, found.output + repr(found.exception)
        assert json.loads(found.stdout)["fingerprint"] == asked["fingerprint"]
        assert said("join", "--admission", admission, "--home", home)["site"] == "coast"
    assert refused("join", "--admission", admission, "--home", home) == "WR-1902"  # it was answered


def _coordinator(stand: Federated) -> str:
    return str(stand.folder / "coordinator")


def test_a_code_counts_once_and_for_its_site_alone(stand: Federated, tmp_path: Path) -> None:
    code = stand.invite("valley").text()
    assert refused("join", code[:-1] + ("a" if code[-1] != "a" else "b"), "--home", tmp_path / "a", "--site", "x") == (
        "WR-1904"
    )
    assert not (tmp_path / "a").exists()
    said_there = str(hospital("join", code, "--home", tmp_path / "b", "--site", "island").exception)
    assert said_there.startswith("WR-1904: The coordinator says: The invite code is for another name than 'island'")
    assert "give --site the name that stands in the coordinator's invite" in said_there
    said("join", code, "--home", tmp_path / "c", "--site", "valley")
    again = str(hospital("join", code, "--home", tmp_path / "c").exception)
    assert "valley is a member of" in again
    assert "Nothing has to be done." in again
    assert refused("join", code, "--home", tmp_path / "d", "--site", "valley") == "WR-1904"
    said("join", stand.invite("glen").text(), "--home", tmp_path / "d", "--site", "glen")  # it was never used as valley
    assert refused("join", code, "--home", tmp_path / "d", "--site", "valley") == "WR-1914"


def test_a_code_that_has_ended_is_said_to_be_one(stand: Federated, tmp_path: Path) -> None:
    ended, withdrawn = stand.consortium.invite("late", days=1, now=_now() - 86_401), stand.invite("gone")
    moved = ended.model_copy(update={"address": stand.address})
    stand.consortium.withdraw_invite("gone", now=_now())
    for code, site in ((moved, "late"), (withdrawn, "gone")):
        assert refused("join", code.text(), "--home", tmp_path / site, "--site", site) == "WR-1904"
    assert said("join", stand.invite("gone").text(), "--home", tmp_path / "gone", "--site", "gone")["site"] == "gone"


def test_a_revoked_hospital_joins_with_a_new_identity_and_its_ledger_goes_on(stand: Federated, tmp_path: Path) -> None:
    home = tmp_path / "back"
    first = said("join", stand.invite("back").text(), "--home", home, "--site", "back")["fingerprint"]
    accepted(home)
    at, old = Home(home), site_key(Home(home))
    at.ledger.set_limit(1.0, 1e-6, admin="A. Tester", reason="a test", now=datetime.now(UTC))
    head = at.ledger.signed_head(bytes(32))
    stand.consortium.revoke("back", "lost laptop", now=_now())
    answer = said("join", stand.invite("back").text(), "--home", home)
    assert answer["new_identity"]
    assert answer["fingerprint"] != first
    assert (home / f"identity.{old.public.hex()[:16]}.key").read_bytes() == old.private
    assert site_key(Home(home)).private != old.private
    assert roster_version(Home(home)) == 0  # the accepted one has the old key
    accepted(home)
    assert roster_version(Home(home)) == answer["roster"]["version"]
    Home(home).ledger.check_witness([head])
    stranger = SignedHead.sign(head.head, head.nonce, SigningKey.generate(os.urandom))
    with pytest.raises(WardroundError, match="WR-1816"):
        Home(home).ledger.check_witness([stranger])


def test_a_code_that_is_refused_leaves_the_identity_as_it_is(stand: Federated, tmp_path: Path) -> None:
    home, code = tmp_path / "stays", stand.invite("stays").text()
    said("join", code, "--home", home, "--site", "stays")
    key = site_key(Home(home)).private
    assert refused("join", code, "--home", home, "--new-identity") == "WR-1904"
    assert site_key(Home(home)).private == key
    assert list(home.glob("identity*.key")) == [home / "identity.key"]
    again = stand.invite("stays").text()
    assert said("join", again, "--home", home, "--new-identity")["new_identity"]  # the positive control
    assert site_key(Home(home)).private != key


def test_by_files_a_revoked_hospital_says_that_it_wants_a_new_identity(stand: Federated, tmp_path: Path) -> None:
    home, request = tmp_path / "files", tmp_path / "request.json"
    said("join", stand.invite("files").text(), "--home", home, "--site", "files")
    stand.consortium.revoke("files", "", now=_now())
    said("join", "--request", request, "--home", home)
    with pytest.raises(WardroundError, match=r"WR-1937.*--new-identity"):
        stand.consortium.admit_file(request, now=_now())
    said("join", "--request", request, "--home", home, "--new-identity")
    admission = tmp_path / "admission.json"
    admission.write_bytes(stand.consortium.admit_file(request, now=_now()).canonical())
    assert said("join", "--admission", admission, "--home", home)["site"] == "files"


def test_the_code_may_come_on_standard_input(stand: Federated, tmp_path: Path) -> None:
    command = ["hospital", "join", "-", "--home", str(tmp_path / "quiet"), "--site", "quiet"]
    assert CliRunner().invoke(app, command, input=stand.invite("quiet").text() + "\n").exit_code == 0
    assert str(CliRunner().invoke(app, command, input="").exception)[:7] == "WR-1904"


def accepted(home: Path) -> None:
    """A person accepts the roster that waits, and types its fingerprint in groups as it is shown."""
    digits = said("roster", "--home", home)["offered"]["fingerprint"]
    assert " " in digits
    said("roster", "accept", *digits.split(), "--by", "A. Tester", "--home", home)


def test_an_answer_that_was_lost_is_asked_for_again(
    stand: Federated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, code = tmp_path / "lost", stand.invite("lost").text()
    monkeypatch.setattr("wardround.client.enrol.complete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    hospital("join", code, "--home", home, "--site", "lost")
    assert (home / "joining" / "request.json").exists()
    monkeypatch.undo()
    assert said("join", code, "--home", home)["site"] == "lost"


def test_joining_again_keeps_the_identity_and_changes_the_rest(stand: Federated, tmp_path: Path) -> None:
    home = tmp_path / "twice"
    said("join", stand.invite("twice").text(), "--home", home, "--site", "twice")
    before = {name: (home / name).read_bytes() for name in ("identity.key", "node.key", "tls/site.key")}
    said("join", stand.invite("twice").text(), "--home", home)
    after = {name: (home / name).read_bytes() for name in before}
    assert after["identity.key"] == before["identity.key"]
    assert after["node.key"] != before["node.key"]
    assert after["tls/site.key"] != before["tls/site.key"]
    (home / "membership.toml").write_text(
        (home / "membership.toml").read_text().replace("localhost:8443", stand.address)
    )
    with connect(home) as connection:
        assert connection.greet(0).site == "twice"


def test_an_admission_for_somebody_else_is_refused_and_nothing_changes(stand: Federated, tmp_path: Path) -> None:
    request, admission = tmp_path / "request.json", tmp_path / "admission.json"
    said("join", "--request", request, "--home", tmp_path / "one", "--site", "one")
    answer = stand.consortium.admit_file(request, now=_now())
    said("join", "--request", tmp_path / "other.json", "--home", tmp_path / "other", "--site", "other")
    admission.write_bytes(answer.canonical())
    assert refused("join", "--admission", admission, "--home", tmp_path / "other") == "WR-1905"
    renamed = answer.model_copy(update={"site": "other"})
    admission.write_bytes(renamed.canonical())
    assert refused("join", "--admission", admission, "--home", tmp_path / "other") == "WR-1905"
    admission.write_bytes(answer.canonical()[:-10])
    assert refused("join", "--admission", admission, "--home", tmp_path / "other") == "WR-1902"
    assert not (tmp_path / "other" / "membership.toml").exists()
    admission.write_bytes(answer.canonical())
    assert said("join", "--admission", admission, "--home", tmp_path / "one")["site"] == "one"  # control


def test_another_identity_key_in_the_roster_is_refused(stand: Federated, tmp_path: Path) -> None:
    request, admission, home = tmp_path / "request.json", tmp_path / "admission.json", tmp_path / "swap"
    said("join", "--request", request, "--home", home, "--site", "swap")
    admission.write_bytes(stand.consortium.admit_file(request, now=_now()).canonical())
    kept = (home / "identity.key").read_bytes()
    (home / "identity.key").write_bytes(bytes(range(32)))
    assert refused("join", "--admission", admission, "--home", home) == "WR-1702"
    (home / "identity.key").write_bytes(kept)
    said("join", "--admission", admission, "--home", home)
    assert site_key(Home(home)).private == kept


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("join", "wr1-x", "--site", "x"), "WR-1914"),  # no folder is named
        (("join", "--request", "r", "--home", "nowhere"), "WR-1914"),  # no name
        (("join", "--request", "r", "--home", "nowhere", "--site", "Ümlaut"), "WR-1931"),
    ],
)
def test_what_is_missing_is_said(
    arguments: tuple[str, ...], code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WARDROUND_HOME", raising=False)
    assert refused(*arguments) == code
    assert list(tmp_path.iterdir()) == []


def _now() -> int:
    import time

    return int(time.time())
