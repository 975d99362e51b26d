"""``wardround coordinator`` as a coordinator's staff meet it, through the program's entry point."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.command_lines import in_this_process
from fakes.joining import Hospital
from fakes.run_folder import classification_study

from wardround.common.consortium.enrolment import Admission, InviteCode
from wardround.server.consortium import Consortium
from wardround.server.store.opening import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STUDY = classification_study()


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs ``wardround coordinator …`` on one folder: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("WARDROUND_COORDINATOR", str(tmp_path / "wards"))
    monkeypatch.setenv("COLUMNS", "300")
    return in_this_process(monkeypatch, capsys, "coordinator")


@pytest.fixture
def made(run: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """What a command answers with ``--json``, in a consortium that is made."""
    assert run("init", "The wards", "--address", "localhost:8443")[0] == 0

    def answer(*arguments: str) -> Any:
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return answer


def request_of(site: str, path: Path) -> Hospital:
    hospital = Hospital(site)
    path.write_bytes(hospital.request(clock()).canonical())
    return hospital


def study_file(path: Path) -> str:
    import tomli_w

    path.write_text(tomli_w.dumps(STUDY.model_dump(mode="json", by_alias=True, exclude_none=True)), encoding="utf-8")
    return str(path)


def test_init_prints_what_hospitals_compare(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = run("init", "The wards", "--address", "localhost:8443", "--json")
    assert code == 0
    with Consortium(tmp_path / "wards") as consortium:
        assert json.loads(out)["authority"] == consortium.authority.public.hex()
    code, _, err = run("init", "The wards", "--address", "localhost:8443")
    assert (code, err[:7]) == (1, "WR-1914")


def test_a_code_can_be_read_by_the_hospital(made: Callable[..., Any], tmp_path: Path) -> None:
    code = InviteCode.from_text(made("invite", "oak", "--label", "Oak clinic", "--days", "3")["code"])
    assert code.address == "localhost:8443"
    (row,) = made("sites", "list")["sites"]
    assert (row["site"], row["label"], row["state"]) == ("oak", "Oak clinic", "invited")
    with Consortium(tmp_path / "wards") as consortium:
        Hospital("oak").join(consortium, now=clock(), code=code)
    listed = made("sites", "list")
    assert (listed["roster"], listed["sites"][0]["state"], len(listed["sites"][0]["certificates"])) == (1, "member", 1)


def test_a_hospital_is_admitted_by_files_and_revoked(made: Callable[..., Any], tmp_path: Path) -> None:
    hospital = request_of("oak", tmp_path / "request.json")
    made("sites", "add", str(tmp_path / "request.json"), "--out", str(tmp_path / "admission.json"))
    admission = Admission.from_canonical((tmp_path / "admission.json").read_bytes())
    assert admission.roster.roster.public_key(hospital.name) == hospital.identity.public
    request_of("elm", tmp_path / "other.json")
    made("sites", "add", str(tmp_path / "other.json"), "--out", str(tmp_path / "other.out"))
    assert made("revoke", "oak", "--reason", "lost laptop") == {"site": "oak", "roster": 3, "runs": {}}
    states = {row["site"]: (row["state"], row["reason"]) for row in made("sites", "list")["sites"]}
    assert states == {"oak": ("revoked", "lost laptop"), "elm": ("member", "")}


def test_the_list_says_who_has_accepted_which_roster(
    made: Callable[..., Any],
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hospitals = [Hospital(site) for site in ("oak", "elm", "ash")]
    with Consortium(tmp_path / "wards") as consortium:
        for hospital in hospitals:
            hospital.join(consortium, now=clock())
        hospitals[0].accept(consortium)
        hospitals[1].accept(consortium, 2)
        consortium.invite("fir", now=clock())
    listed = {row["site"]: (row["roster"], row["roster_current"]) for row in made("sites", "list")["sites"]}
    assert listed == {"oak": (3, True), "elm": (2, False), "ash": (None, False), "fir": (None, False)}
    out = run("sites", "list")[1]
    assert [out.count(text) for text in ("3, current", "2, behind", "none yet")] == [1, 1, 1]
    monkeypatch.setenv("COLUMNS", "80")
    out = run("sites", "list")[1]
    keys = [row["fingerprint"] for row in made("sites", "list")["sites"] if row["fingerprint"]]
    assert len(keys) == 3
    assert all(f": {key}\n" in out for key in keys), "a fingerprint is read out in one piece"


def test_an_admission_never_replaces_a_file(
    made: Callable[..., Any], run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    request_of("oak", tmp_path / "request.json")
    (tmp_path / "admission.json").write_text("precious", encoding="utf-8")
    code, _, err = run("sites", "add", str(tmp_path / "request.json"), "--out", str(tmp_path / "admission.json"))
    assert (code, err[:7]) == (1, "WR-1506")
    assert (tmp_path / "admission.json").read_text(encoding="utf-8") == "precious"
    made("sites", "add", str(tmp_path / "request.json"), "--out", str(tmp_path / "second.json"))  # nothing was lost


def test_studies_are_proposed_and_listed(
    made: Callable[..., Any], run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    file = study_file(tmp_path / "study.toml")
    assert run("propose", file, "--by", "A. Person")[0] == 1  # its sites are unknown
    for site in STUDY.sites:
        made("invite", site)
    assert made("propose", file, "--by", "A. Person", "--why", "to learn")["study"] == STUDY.id
    (found,) = made("studies")
    assert (found["study"], found["by"], found["why"]) == (STUDY.id, "A. Person", "to learn")
    assert found["sites"] == dict.fromkeys(STUDY.sites)
    code, out, _ = run("studies")
    assert code == 0
    assert STUDY.id in out
    assert out.count("none yet") == len(STUDY.sites)
    code, _, err = run("propose", file, "--by", "A. Person")
    assert (code, err[:7]) == (1, "WR-1932")


def test_a_study_file_that_is_none_has_a_code(
    made: Callable[..., Any], run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert made("studies") == []
    assert run("propose", str(tmp_path / "nothing.toml"), "--by", "A")[2].startswith("WR-1001")
    (tmp_path / "study.toml").write_bytes(b"\xff\xfe")
    assert run("propose", str(tmp_path / "study.toml"), "--by", "A")[2].startswith("WR-1001")


def test_the_export_is_whole_and_its_file_private(made: Callable[..., Any], tmp_path: Path) -> None:
    made("invite", "oak")
    assert made("export", "--out", str(tmp_path / "export.json")) == {"export": str(tmp_path / "export.json")}
    document = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    assert {row["name"] for row in document["sites"]} == {row["site"] for row in made("sites", "list")["sites"]}
    assert (tmp_path / "export.json").stat().st_mode & 0o077 == 0
    assert made("export")["sites"] == document["sites"]


@pytest.mark.parametrize("arguments", [("invite", "oak", "--days", "0"), ("revoke", "oak"), ("nothing",)])
def test_wrong_usage_is_2(run: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_without_a_folder_the_option_is_named(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, _, err = run("studies", "--dir", str(tmp_path / "nothing"))
    assert (code, err[:7]) == (1, "WR-1914")
    monkeypatch.delenv("WARDROUND_COORDINATOR")
    code, _, err = run("studies")
    assert code == 2
    assert "--dir" in err


def test_tables_show_what_json_says(made: Callable[..., Any], run: Callable[..., tuple[int, str, str]]) -> None:
    made("invite", "oak", "--label", "Clínica 杉 [bold]")
    code, out, _ = run("sites", "list")
    assert code == 0
    assert "Clínica 杉 [bold]" in out
    assert "No roster yet" in out
    code, out, _ = run("invite", "elm")
    assert code == 0
    assert InviteCode.from_text(next(line for line in out.splitlines() if line.startswith("wr1-")))
