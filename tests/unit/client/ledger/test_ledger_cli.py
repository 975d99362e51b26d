"""``wardround hospital ledger`` as a hospital's staff meet it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from fakes.ledgers import MECHANISM, NOW, study
from typer.testing import CliRunner

from wardround.client.cli import app
from wardround.client.home import Home, RegisteredData, create_home
from wardround.client.ledger.patients import Cohort
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


def test_withdraw_reads_ids_from_a_file_or_the_input(home: Home, tmp_path: Path) -> None:
    used(home)
    listed = tmp_path / "leaving.txt"
    listed.write_text("P3\n\n stranger \n", encoding="utf-8")
    output = run(home, "withdraw", "--patients", str(listed))
    assert "2 patients, 1 of them in no study" in output
    assert "P3" not in output
    with pytest.raises(WardroundError, match="WR-1810"):
        home.ledger.spend(RUN, 3, 1, patients(home), now=NOW)
    assert "1 patients, 0 of them" in run(home, "withdraw", "--patients", "-", given="P4\n")
    run(home, "withdraw", "--patients", "-", given="\n", code=2)
    with pytest.raises(WardroundError, match="WR-1813"):
        run(home, "withdraw", "--patients", str(tmp_path / "missing"))


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
    with pytest.raises(WardroundError, match="WR-1813"):
        run(home, "export", "--out", str(tmp_path / "no" / "folder"))


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
    with pytest.raises(WardroundError, match="WR-1816"):
        run(home, *words, "--head", str(bad))
    output = run(home, *words, "--head", str(signed))
    assert f"hospital leave --home {home.path} {RUN}" in output.replace("\n", " ")
    assert "Events are missing" not in output
    assert json.loads(run(home, "show", "--json"))["runs"][0]["ended"] == "written off"
    for name in ("ledger.sqlite", "ledger.head"):
        (home.path / name).unlink()
    assert "up to epsilon 8" in run(home, *words)


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
