"""``wardround hospital ledger`` as a hospital's staff meet it."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from fakes.ledgers import MECHANISM, NOW, study
from typer.testing import CliRunner

from wardround.client.cli import app
from wardround.client.home import Home, RegisteredData, create_home
from wardround.client.ledger.patients import Cohort
from wardround.client.spending import validations_of
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId

if TYPE_CHECKING:
    from pathlib import Path

RUN = StudyRunId("cxr.seed0")
LIMIT = ("limit", "--epsilon", "8", "--delta", "1e-5", "--admin", "Ada Weiss", "--reason", "vote of 12 May")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    data = [RegisteredData(manifest=tmp_path / "manifest.toml")]
    return create_home(tmp_path / "home", SiteId("north"), data, device="cpu", threads=1)


def run(home: Home | None, *words: str, given: str | None = None, code: int = 0) -> str:
    """The output of a command; a refusal comes through as the exception that the program prints."""
    where = () if home is None else ("--home", str(home.path))
    result = CliRunner().invoke(app, ["ledger", *words, *where], input=given)
    if isinstance(result.exception, WardroundError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def patients(home: Home, count: int = 9) -> Cohort:
    return Cohort.of(home.patient_key(f"P{number}") for number in range(count))


def used(home: Home) -> None:
    """A run of which two of four rounds were computed."""
    run(home, *LIMIT)
    home.ledger.reserve(RUN, study(1), patients(home), mechanism=MECHANISM, steps=5, rounds=4, now=NOW)
    for number in (1, 2):
        home.ledger.spend(RUN, number, 1, patients(home), now=NOW)


def test_show_before_anything(home: Home) -> None:
    assert "no ledger yet" in run(home, "show")
    assert json.loads(run(home, "show", "--json"))["limit"] is None
    for words in (("export", "--out", "x"), ("picture", "--out", "x")):
        with pytest.raises(WardroundError, match="WR-1808"):
            run(home, *words)


def test_show(home: Home) -> None:
    used(home)
    text = run(home, "show")
    for words in ("9 patients", "epsilon 8 at delta 1e-05", "Ada Weiss", "vote of 12 May", RUN, "2/4", "open"):
        assert words in text
    fields = json.loads(run(home, "show", "--json"))
    assert fields["limit"]["admin"] == "Ada Weiss"
    assert fields["runs"][0]["begun"] == 2
    assert 0 < fields["spent"] < fields["committed"] == pytest.approx(8.0 - fields["left"])
    for number in range(9):
        assert home.patient_key(f"P{number}") not in text + json.dumps(fields)


@pytest.mark.parametrize(
    "change",
    [
        {"--admin": ""},
        {"--reason": " "},
        {"--admin": "A\nB"},
        {"--epsilon": "0"},
        {"--epsilon": "nan"},
        {"--delta": "0.5"},
    ],
)
def test_a_limit_needs_numbers_a_name_and_a_reason(home: Home, change: dict[str, str]) -> None:
    words = dict(zip(LIMIT[1::2], LIMIT[2::2], strict=True)) | change
    run(home, "limit", *(word for pair in words.items() for word in pair), code=2)
    for option in ("--admin", "--reason", "--epsilon", "--delta"):
        left = {name: value for name, value in zip(LIMIT[1::2], LIMIT[2::2], strict=True) if name != option}
        run(home, "limit", *(word for pair in left.items() for word in pair), code=2)
    assert not home.ledger.exists
    run(home, *LIMIT)
    assert Home(home.path).ledger.state().limits[-1].reason == "vote of 12 May"


def test_a_limit_below_what_is_spent_says_so(home: Home) -> None:
    used(home)
    committed = json.loads(run(home, "show", "--json"))["committed"]
    for epsilon, below in ((committed * 1.01, False), (committed * 0.99, True)):
        words = dict(zip(LIMIT[1::2], LIMIT[2::2], strict=True)) | {"--epsilon": f"{epsilon:.6f}"}
        said = run(home, "limit", *(word for pair in words.items() for word in pair))
        assert "The limit is" in said
        assert (f"spent and reserved {committed:.3f}, which is more" in said) == below


def test_withdraw_reads_ids_from_a_file_or_the_input(home: Home, tmp_path: Path) -> None:
    used(home)
    listed = tmp_path / "leaving.txt"
    listed.write_bytes(b"\xef\xbb\xbfP3\r\n\r\n P5 \r\n")  # as a spreadsheet writes it
    output = run(home, "withdraw", "--patients", str(listed))
    assert "2 patients; 2 of them are known" in output
    assert "Withdrawn now: 2." in output
    assert "P3" not in output
    with pytest.raises(WardroundError, match=r"WR-1810: 2 of the patients .* ledger settle RUN --home HOME"):
        home.ledger.spend(RUN, 3, 1, patients(home), now=NOW)
    assert "1 had withdrawn before.\nWithdrawn now: 1." in run(home, "withdraw", "--patients", "-", given="P4\nP3\n")
    events = Home(home.path).ledger.state().sequence
    assert "Nothing has changed" in run(home, "withdraw", "--patients", "-", given="P4\nP3\n")
    assert Home(home.path).ledger.state().sequence == events
    run(home, "withdraw", "--patients", "-", given="\n", code=2)


def test_withdraw_refuses_ids_that_nobody_has(home: Home) -> None:
    used(home)
    before = home.ledger.state().sequence
    given = "patient_id\nP3\nP33\n\nP4\nP33\n"
    with pytest.raises(
        WardroundError, match=r"WR-1818: Of 4 .* knows 2 and does not know 2 \(lines 1, 3, 6\)"
    ) as refusal:
        run(home, "withdraw", "--patients", "-", given=given)
    assert "P33" not in str(refusal.value)
    assert Home(home.path).ledger.state().sequence == before
    output = run(home, "withdraw", "--patients", "-", "--unknown-too", given=given)
    assert "4 patients; 2 of them are known" in output
    assert len(Home(home.path).ledger.state().withdrawn) == 4


def test_withdraw_names_the_argument_that_is_wrong(home: Home, tmp_path: Path) -> None:
    used(home)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x89PNG\xff\x00")
    for path in (tmp_path / "missing", binary, tmp_path):
        with pytest.raises(WardroundError, match=r"WR-1813: --patients .* cannot be read .* Give --patients a text"):
            run(home, "withdraw", "--patients", str(path))


def test_settle_frees_what_never_began(home: Home) -> None:
    with pytest.raises(WardroundError, match="WR-1815: RUN"):
        run(home, "settle", RUN)
    used(home)
    validations = validations_of(RUN)
    home.ledger.reserve(validations, study(1), patients(home, 3), mechanism=MECHANISM, steps=1, rounds=2, now=NOW)
    with pytest.raises(WardroundError, match="WR-1815: RUN"):
        run(home, "settle", "cxr.seed1")
    before = json.loads(run(home, "show", "--json"))
    assert "4 rounds that never began are free again" in run(home, "settle", RUN)
    after = json.loads(run(home, "show", "--json"))
    assert [part["ended"] for part in after["runs"]] == ["settled", "settled"]
    assert after["spent"] == before["spent"]
    assert after["committed"] == after["spent"] < before["committed"]
    with pytest.raises(WardroundError, match="WR-1815"):
        Home(home.path).ledger.spend(RUN, 3, 1, patients(home), now=NOW)
    assert "settled before" in run(home, "settle", RUN)


HOSPITALS_OWN = (
    "ledger.sqlite",
    "ledger.head",
    "patient.key",
    "policy.toml",
    "hospital.toml",
    "identity.key",
    "new.json",
)


@pytest.mark.parametrize("name", HOSPITALS_OWN)
@pytest.mark.parametrize("command", ["export", "picture"])
def test_nothing_of_the_hospital_is_written_over(home: Home, tmp_path: Path, command: str, name: str) -> None:
    used(home)
    home.ledger.signed_head(bytes(32))  # makes identity.key
    (home.path / "policy.toml").write_text("schema = 1\n", encoding="utf-8")
    (tmp_path / "link").symlink_to(home.path, target_is_directory=True)
    (tmp_path / "file").symlink_to(home.path / name)
    before = {path.name: path.read_bytes() for path in home.path.iterdir() if path.is_file()}
    assert set(HOSPITALS_OWN) - {"new.json"} <= set(before)
    ways = (home.path / name, tmp_path / "link" / name, tmp_path / "file", home.path / ".." / "home" / name)
    for out in ways:
        for force in ((), ("--force",)):
            with pytest.raises(WardroundError, match=r"WR-1813: --out .* home folder"):
                run(home, command, "--out", str(out), *force)
    assert {path.name: path.read_bytes() for path in home.path.iterdir() if path.is_file()} == before
    run(home, command, "--out", str(tmp_path / name))
    assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize("command", ["export", "picture"])
def test_another_file_is_replaced_on_purpose_only(home: Home, tmp_path: Path, command: str) -> None:
    used(home)
    out = tmp_path / "images.csv"
    out.write_text("somebody's work", encoding="utf-8")
    with pytest.raises(WardroundError, match=r"WR-1813: --out images.csv is there already\. .*--force"):
        run(home, command, "--out", str(out))
    assert out.read_text(encoding="utf-8") == "somebody's work"
    run(home, command, "--out", str(out), "--force")
    assert b"somebody" not in out.read_bytes()
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    for bad in (tmp_path / "no" / "folder", tmp_path, tmp_path / "one", out / "below"):
        with pytest.raises(WardroundError, match="WR-1813: --out ") as refusal:
            run(home, command, "--out", str(bad), "--force")
        assert "--out" in refusal.value.fix
        assert "disk space" not in str(refusal.value)


def test_export_and_check(home: Home, tmp_path: Path) -> None:
    used(home)
    out = tmp_path / "ledger.json"
    digest = home.ledger.state().digest.hex()
    assert digest in run(home, "export", "--out", str(out))
    assert digest in run(home, "check")
    assert digest in run(None, "check", "--export", str(out))
    run(None, "check", code=2)
    run(home, "check", "--export", str(out), code=2)
    run(home, "export", "--out", str(tmp_path / "ledger.csv"), "--format", "csv")
    assert (tmp_path / "ledger.csv").read_text(encoding="utf-8").count("\n") == home.ledger.state().sequence + 1
    out.write_text(out.read_text(encoding="utf-8").replace("vote of 12 May", "vote of 13 May"), encoding="utf-8")
    with pytest.raises(WardroundError, match="WR-1811"):
        run(None, "check", "--export", str(out))
    with pytest.raises(WardroundError, match=r"WR-1813: --export .* cannot be read"):
        run(None, "check", "--export", str(tmp_path / "missing"))


def test_picture(home: Home, tmp_path: Path) -> None:
    used(home)
    run(home, "picture", "--out", str(tmp_path / "ledger.png"))
    assert (tmp_path / "ledger.png").read_bytes().startswith(b"\x89PNG")


def test_restore_says_what_is_charged_and_which_runs_to_leave(home: Home, tmp_path: Path) -> None:
    used(home)
    backup = tmp_path / "backup.sqlite"
    shutil.copyfile(home.path / "ledger.sqlite", backup)
    signed = tmp_path / "head.json"
    signed.write_bytes(home.ledger.signed_head(bytes(32)).canonical())
    for name in ("ledger.sqlite", "ledger.head"):
        (home.path / name).unlink()
    words = ("restore", str(backup), "--admin", "Ada", "--reason", "disk failed")
    run(home, "restore", str(backup), "--admin", "", "--reason", "disk failed", code=2)
    bad = tmp_path / "bad.json"
    bad.write_text("{}", encoding="utf-8")
    with pytest.raises(WardroundError, match=r"WR-1816: --head bad\.json .* Give --head"):
        run(home, *words, "--head", str(bad))
    with pytest.raises(WardroundError, match=r"WR-1813: --head missing cannot be read"):
        run(home, *words, "--head", str(tmp_path / "missing"))
    output = run(home, *words, "--head", str(signed))
    assert f"hospital leave --home {home.path} {RUN}" in output.replace("\n", " ")
    assert "Events are missing" not in output
    assert json.loads(run(home, "show", "--json"))["runs"][0]["ended"] == "written off"
    for name in ("ledger.sqlite", "ledger.head"):
        (home.path / name).unlink()
    assert "up to epsilon 8" in run(home, *words)


def test_restore_names_the_backup_that_is_none(home: Home, tmp_path: Path) -> None:
    used(home)
    words = ("--admin", "Ada", "--reason", "disk failed")
    (tmp_path / "text").write_text("no ledger", encoding="utf-8")
    (tmp_path / "empty").touch()
    before = (home.path / "ledger.sqlite").read_bytes()
    for name, code in (("missing", "1813"), (".", "1813"), ("text", "1811"), ("empty", "1811")):
        with pytest.raises(WardroundError, match=f"WR-{code}: BACKUP .* Give for BACKUP"):
            run(home, "restore", str(tmp_path / name), *words)
    assert (home.path / "ledger.sqlite").read_bytes() == before
    assert "2/4" in run(home, "show")


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_without_its_head_a_ledger_is_restored_from_its_own_file(home: Home, damage: str) -> None:
    used(home)
    head = home.path / "ledger.head"
    if damage == "gone":
        head.unlink()
    else:
        head.write_text("{}", encoding="utf-8")
    with pytest.raises(WardroundError, match=r"WR-1811: ledger.head .* ledger restore HOME/ledger.sqlite --home HOME"):
        run(home, "show")
    own = str(home.path / "ledger.sqlite")
    assert "up to epsilon 8" in run(home, "restore", own, "--admin", "Ada", "--reason", "head gone")
    run(home, "check")
    assert json.loads(run(home, "show", "--json"))["runs"][0]["ended"] == "written off"
    used_up = "nothing is left of the limit's delta"
    assert used_up in " ".join(run(home, "show").split())
    run(home, *("1e-4" if word == "1e-5" else "20" if word == "8" else word for word in LIMIT))
    shown = " ".join(run(home, "show").split())
    assert used_up not in shown
    assert "epsilon 8 at delta 1e-05 of it counts for events lost in a restore" in shown


def test_a_backup_of_another_hospital_is_refused_by_its_argument(home: Home, tmp_path: Path) -> None:
    used(home)
    data = [RegisteredData(manifest=tmp_path / "manifest.toml")]
    other = create_home(tmp_path / "other", SiteId("south"), data, device="cpu", threads=1)
    run(other, *LIMIT)
    backup = str(other.path / "ledger.sqlite")
    with pytest.raises(WardroundError, match=r"WR-1813: .* another site than north\. Give for BACKUP"):
        run(home, "restore", backup, "--admin", "Ada", "--reason", "disk failed")
    assert "2/4" in run(home, "show")


def test_a_loss_without_a_limit_is_said_in_words(home: Home) -> None:
    home.ledger.set_limit(None, 0.0, admin="Ada", reason="virtual", now=NOW)
    (home.path / "ledger.head").unlink()
    own = str(home.path / "ledger.sqlite")
    output = run(home, "restore", own, "--admin", "Ada", "--reason", "head gone")
    assert "infinite epsilon" in output
    shown = run(home, "show")
    assert "no limit, set by Ada" in shown
    assert "an infinite epsilon of it counts for events lost" in shown
    assert not re.search(r"\binf\b", output + shown)


def test_show_keeps_names_in_one_piece_and_explains_its_figures(home: Home) -> None:
    name = StudyRunId("a-study-of-many-hospitals-and-a-very-long-name-that-fills-the-line.seed0.fold3.arm-federated")
    run(home, *LIMIT)
    home.ledger.reserve(name, study(1), patients(home), mechanism=MECHANISM, steps=5, rounds=4, now=NOW)
    for computation in (1, 2):
        home.ledger.spend(name, 1, computation, patients(home), now=NOW)
    lines = run(home, "show").splitlines()
    assert any(name in line and "1+1/4" in line for line in lines)
    assert any("40+1/40" in line and "once more after a crash" in line for line in lines)


def test_a_home_knows_its_secret_by_a_fingerprint(home: Home) -> None:
    used(home)
    secret = (home.path / "patient.key").read_bytes()
    assert Home(home.path).secret_fingerprint == home.secret_fingerprint
    assert secret.hex() not in home.secret_fingerprint
    (home.path / "patient.key").unlink()  # the next start draws another one
    with pytest.raises(WardroundError, match="WR-1814"):
        run(home, "show")
    (home.path / "patient.key").write_bytes(secret)
    assert "9 patients" in run(home, "show")


def test_policy_can_insist_on_a_witness(home: Home) -> None:
    used(home)
    (home.path / "policy.toml").write_text("schema = 1\nrequire_witness = true\n", encoding="utf-8")
    with pytest.raises(WardroundError, match="WR-1816"):
        home.ledger.spend(RUN, 3, 1, patients(home), now=NOW)
    (home.path / "policy.toml").unlink()
    home.ledger.spend(RUN, 3, 1, patients(home), now=NOW)
