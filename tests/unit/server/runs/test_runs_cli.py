"""The commands around runs, through the program's entry point, on a coordinator that does not serve."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from fakes.command_lines import in_this_process
from fakes.joining import NOW, Hospital
from fakes.scenarios import chest_scenario

from wardround.common.consortium.studies import Decision, SignedDecision
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.wire.federation import Report
from wardround.server.consortium import Consortium, create_consortium
from wardround.server.consortium.settings import FILE
from wardround.server.lock import locked
from wardround.server.rounds.store import RecordFolder
from wardround.server.runs import orders, overview
from wardround.server.runs.plan import keep_plan
from wardround.server.store.opening import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

SITES = ("north", "coast", "valley")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three hospitals that approved a study."""
    path, study = tmp_path / "coordinator", chest_scenario().study
    with create_consortium(path, "<Clinics>", "localhost:8443", now=NOW) as consortium:
        hospitals = {site: Hospital(site) for site in SITES}
        for hospital in hospitals.values():
            hospital.join(consortium)
        for hospital in hospitals.values():
            hospital.accept(consortium)
        consortium.propose(study, "Dr. Asks", now=NOW)
        for site, hospital in hospitals.items():
            decision = Decision(
                consortium="<Clinics>", site=site, study=study.id, verdict="approved", by="Dr. Here", at=NOW
            )
            consortium.decide(SiteId(site), SignedDecision.sign(decision, hospital.identity), now=NOW)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Run:
    """Runs ``wardround coordinator …``: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("WARDROUND_COORDINATOR", str(folder))
    monkeypatch.setenv("COLUMNS", "400")
    return in_this_process(monkeypatch, capsys, "coordinator")


def answer(run: Run, *arguments: str) -> Any:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_run_is_asked_for_stopped_and_gone_on_with(run: Run) -> None:
    code, _, err = run("start", "unknown", "--by", "Dr. Starts")
    assert (code, "WR-1924" in err) == (1, True)
    started = answer(run, "start", "small-chest", "--by", "Dr. Starts", "--seed", "3")
    assert started["state"] == "waiting"
    assert run("start", "small-chest", "--by", "Dr. Starts")[0] == 1
    assert answer(run, "stop", "small-chest", "--by", "Dr. Stops") == {"run": started["run"], "state": "stopped"}
    assert answer(run, "resume", started["run"], "--by", "Dr. R")["state"] == "waiting"
    assert run("stop", "nothing", "--by", "Dr. Stops")[0] == 1


def test_revoke_names_the_runs_under_way_of_that_hospital(run: Run) -> None:
    started = answer(run, "start", "small-chest", "--by", "Dr. Starts")["run"]
    code, out, err = run("revoke", "coast", "--reason", "left")
    assert (code, "coast is revoked. Version 4" in out, f"\nRun {started} goes on without coast" in out) == (
        0,
        True,
        True,
    ), err
    assert list(answer(run, "revoke", "valley", "--reason", "left")["runs"]) == [started]
    run("stop", started, "--by", "Dr. Stops")
    assert answer(run, "revoke", "north", "--reason", "left")["runs"] == {}


def test_the_overview_shows_sites_runs_and_who_asked(run: Run, tmp_path: Path, folder: Path) -> None:
    started = answer(run, "start", "small-chest", "--by", "Dr. Starts")["run"]
    facts = answer(run, "watch")
    assert facts["serving"] is False
    assert {row["site"]: row["registered"] for row in facts["sites"]} == dict.fromkeys(SITES, "member")
    (decided,) = facts["sites"][0]["decisions"].values()
    assert decided == {"name": "small-chest", "withdrawn": False, "verdict": "approved"}
    assert [(row["run"], row["state"], row["committed"]) for row in facts["runs"]] == [(started, "waiting", 0)]
    assert (facts["events"][0]["kind"], facts["events"][0]["words"]) == ("run.asked", "Dr. Starts")
    _, out, _ = run("watch", "--once")
    assert started in out
    assert "No coordinator serves" in out
    with locked(folder):
        assert "The coordinator serves." in run("watch", "--once")[1]
    page = tmp_path / "watch.html"
    assert run("watch", "--html", str(page), "--once")[0] == 0
    content = page.read_text(encoding="utf-8")
    assert started in content
    assert 'http-equiv="refresh"' in content
    assert "&lt;Clinics&gt;" in content
    assert "<Clinics>" not in content


def test_what_an_agent_does_is_shown_only_while_it_is_heard(run: Run, folder: Path) -> None:
    now, report = clock(), Report(state="working", what="train.noisy")
    heard_at = {"north": now, "coast": now - 3600, "valley": now}
    with Consortium(folder) as consortium:
        for site, at in heard_at.items():
            consortium.store.heard(SiteId(site), at, report=report)
        consortium.revoke(SiteId("valley"), "left", now=now)
    assert {row["doing"] for row in answer(run, "watch")["sites"]} == {None}  # no coordinator hears anybody
    assert {row["report"] for row in answer(run, "sites", "list")["sites"]} == {None}
    with locked(folder):
        shown = {row["site"]: (row["doing"], row["what"]) for row in answer(run, "watch")["sites"]}
        assert shown == {"north": ("working", "train.noisy"), "coast": (None, None), "valley": (None, None)}
        listed = {row["site"]: row["heard"] for row in answer(run, "sites", "list")["sites"]}
        assert listed == {"north": True, "coast": False, "valley": False}
        for out in (run("sites", "list")[1], run("watch", "--once")[1]):
            assert (out.count("working"), out.count("not heard")) == (1, 1)


def test_studies_of_one_name_are_told_apart_by_their_hash(run: Run, folder: Path) -> None:
    other = chest_scenario(title="The same name again").study
    with Consortium(folder) as consortium:
        consortium.propose(other, "Dr. Asks", now=NOW + 1)
        old = next(row.id for row in consortium.store.studies() if row.id != other.id)
    decided = answer(run, "watch")["sites"][0]["decisions"]
    assert {study: found["verdict"] for study, found in decided.items()} == {old: "approved", other.id: None}
    shown = run("watch", "--once")[1]
    assert f"small-chest ({old[7:15]}): approved, small-chest ({other.id[7:15]}): no decision yet" in " ".join(
        shown.split()
    )
    code, _, err = run("start", "small-chest", "--by", "Dr. Starts")
    assert (code, "WR-1924" in err, old[7:19] in err, other.id[7:19] in err) == (1, True, True, True)
    code, out, _ = run("withdraw", other.id[7:15], "--by", "Dr. Asks", "--why", "a slip")
    assert (code, other.id in out) == (0, True)
    assert "WITHDRAWN by Dr. Asks, " in run("studies")[1]
    assert "(a slip)" in run("studies")[1]
    assert answer(run, "watch")["events"][0]["words"] == "small-chest, by Dr. Asks"
    assert [row["withdrawn"] for row in answer(run, "studies")] == [False, True]
    assert run("start", other.id, "--by", "Dr. Starts")[0] == 1
    assert answer(run, "start", "small-chest", "--by", "Dr. Starts")["run"]  # of those, one was not withdrawn


@pytest.mark.parametrize("more", [(), ("--html", "page.html")])
def test_watch_ends_quietly_whenever_it_is_interrupted(
    more: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(overview, "overview", interrupted)
    assert run("watch", *more) == (0, "", "")


def test_doctor_names_problems_and_what_to_do(run: Run, folder: Path) -> None:
    code, out, _ = run("doctor", "--json")
    found = {row["check"]: row for row in json.loads(out)}
    assert (code, found["process"]["passed"]) == (1, False)
    assert found["process"]["fix"] == "wardround coordinator serve"
    for check in ("keys", "certificates", "disk", "address", "sites", "studies", "runs"):
        assert found[check]["passed"], found[check]
    (folder / "authority.key").chmod(0o644)
    code, out, _ = run("doctor", "--json")
    assert code == 1
    assert json.loads(out)[0]["passed"] is False
    assert "authority.key" in json.loads(out)[0]["words"]
    assert "PROBLEM" in run("doctor")[1]


def test_a_backup_holds_everything_and_comes_back(run: Run, folder: Path, tmp_path: Path) -> None:
    started = answer(run, "start", "small-chest", "--by", "Dr. Starts")["run"]
    with Consortium(folder) as consortium:
        row = consortium.store.update_run(started, state="running", committed=2)
        keep_plan(consortium, row)
    RecordFolder(folder / "runs" / started / "open").commit({"committed": b"rounds"})
    out = tmp_path / "backup.tar.gz"
    assert answer(run, "backup", str(out))["bytes"] == out.stat().st_size
    assert out.stat().st_mode & 0o077 == 0
    assert run("backup", str(out))[0] == 1, "one that is there is not replaced"
    assert run("restore", str(out))[0] == 1, "nor is a folder"
    again = tmp_path / "again"
    assert answer(run, "restore", str(out), "--dir", str(again))["stopped"] == [started]
    with Consortium(again) as consortium:
        row = orders.find_run(consortium.store, started)
        assert (row.state, row.committed) == ("stopped", 2)
        assert "restored" in row.words
        assert len(consortium.approvals(row.study)) == 3
        assert keep_plan(consortium, row)[1].out == again / "runs" / started
    assert RecordFolder(again / "runs" / started / "open").get("committed") == b"rounds"
    for path in (again, *again.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_restore_says_what_it_cannot_know_and_opens_nothing_again(run: Run, folder: Path, tmp_path: Path) -> None:
    with Consortium(folder) as consortium:
        code = consortium.invite("island", now=clock())
    out, again = tmp_path / "backup.tar.gz", tmp_path / "again"
    run("backup", str(out))
    with Consortium(folder) as consortium:
        joined = Hospital("island").join(consortium, now=clock(), code=code)
        seen = consortium.revoke("coast", "gone", now=clock())
        assert seen is not None
    _, words, _ = run("restore", str(out), "--dir", str(again))
    assert "Members, with their certificates of then: coast, north, valley" in words
    assert "withdrawn, to be made anew: island" in words
    assert "wardround coordinator revoke SITE --reason WHY" in words
    with Consortium(again) as consortium:
        newest = consortium.store.newest_roster()
        assert newest is not None
        newest.verify()
        assert newest.roster.version > seen.roster.version > joined.roster.roster.version
        with pytest.raises(WardroundError, match="WR-1904"):
            Hospital("island").join(consortium, now=clock(), code=code)
        Hospital("island").join(consortium, now=clock())  # the positive control: a new invite
    second = tmp_path / "second"
    facts = answer(run, "restore", str(out), "--dir", str(second))
    assert (facts["members"], facts["uninvited"]) == (["coast", "north", "valley"], ["island"])
    assert facts["roster"] == newest.roster.version


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_what_is_no_backup_leaves_nothing(damage: str, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "backup.tar.gz"
    assert run("backup", str(out))[0] == 0
    content = out.read_bytes()
    if damage == "cut":
        out.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        out.write_bytes(b"")
    else:
        with tarfile.open(out, "w:gz"):
            pass
    code, _, err = run("restore", str(out), "--dir", str(tmp_path / "again"))
    assert (code, "WR-1914" in err) == (1, True)
    assert not list((tmp_path / "again").iterdir())
    out.write_bytes(content)
    assert run("restore", str(out), "--dir", str(tmp_path / "again"))[0] == 0  # the positive control
    assert (tmp_path / "again" / FILE).exists()


@pytest.mark.parametrize("hostile", ["../outside", "/outside", "link", "hard", "pipe", "twice"])
def test_a_backup_writes_plain_files_below_its_folder_alone(hostile: str, run: Run, tmp_path: Path) -> None:
    out, again = tmp_path / "backup.tar.gz", tmp_path / "inner" / "again"
    again.parent.mkdir()
    assert run("backup", str(out))[0] == 0
    with tarfile.open(out) as archive:
        files = [(entry, archive.extractfile(entry).read()) for entry in archive.getmembers()]  # type: ignore[union-attr]
    kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE}
    with tarfile.open(out, "w:gz") as archive:
        for entry, content in files:
            archive.addfile(entry, io.BytesIO(content))
        added = tarfile.TarInfo(files[0][0].name if hostile == "twice" else hostile)
        added.type, added.linkname = kinds.get(hostile, tarfile.REGTYPE), "/etc/passwd"
        archive.addfile(added, io.BytesIO())
    code, _, err = run("restore", str(out), "--dir", str(again))
    assert (code, "WR-1914" in err) == (1, True)
    assert not list(again.iterdir())
    assert [path.name for path in again.parent.iterdir()] == ["again"]
