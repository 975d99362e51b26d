"""``wardround hospital studies|approve|reject|policy`` and ``data`` as a hospital's staff meet them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.proposals import Consortium, open_study, put_data

from wardround.client.home import Home
from wardround.client.policy import Policy
from wardround.client.proposals import pending_decisions

OPEN = Policy(modes=("open", "private"), without_privacy=True)


@pytest.fixture
def lungs(tmp_path: Path) -> Consortium:
    return Consortium.around(tmp_path / "home", policy=OPEN)


def run(lungs: Consortium | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("wardround")
    environment = {key: value for key, value in os.environ.items() if key != "WARDROUND_HOME"}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    if lungs is not None:
        environment["WARDROUND_HOME"] = str(lungs.home.path)
    command = [str(program), "hospital", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL
    )


def done(lungs: Consortium, *arguments: str) -> str:
    found = run(lungs, *arguments)
    assert found.returncode == 0, found.stderr
    assert "Doe" not in found.stdout + found.stderr
    return found.stdout


def failed(lungs: Consortium | None, *arguments: str) -> str:
    found = run(lungs, *arguments)
    assert (found.returncode, found.stdout.count("Approved")) == (1, 0)
    assert "Traceback" not in found.stderr
    return found.stderr


def test_from_data_to_approval_and_back(lungs: Consortium, tmp_path: Path) -> None:
    study, manifest = open_study(), str(put_data(tmp_path / "data"))
    digits = study.id.removeprefix("sha256:")[:12]
    assert "No study was proposed" in done(lungs, "studies")
    lungs.propose(study)
    assert "waits for" in done(lungs, "studies")
    assert "WR-1920" in failed(lungs, "approve", digits, "--by", "M. Roth")
    assert "Registered as chest" in done(lungs, "data", "add", manifest, "--name", "chest")
    shown = done(lungs, "studies", digits)
    assert "Nothing speaks against it" in shown
    assert not Home(lungs.home.path).is_approved(study.id)
    approved = done(lungs, "approve", digits, "--by", "M. Roth")
    assert shown.split("What is trained")[0] in approved
    assert approved.strip().endswith("The agent tells the coordinator when it is connected.")
    assert Home(lungs.home.path).is_approved(study.id)
    (signed,) = pending_decisions(lungs.home)
    assert lungs.verified(signed).by == "M. Roth"
    assert done(lungs, "reject", digits, "--by", "M. Roth", "--reason", "Too soon").startswith("Withdrawn.")
    assert not Home(lungs.home.path).is_approved(study.id)
    (signed,) = pending_decisions(lungs.home)
    assert (lungs.verified(signed).verdict, lungs.verified(signed).reason) == ("withdrawn", "Too soon")


def test_json_of_every_command(lungs: Consortium, tmp_path: Path) -> None:
    study, manifest = open_study(), str(put_data(tmp_path / "data"))
    lungs.propose(study)
    assert json.loads(done(lungs, "data", "add", manifest, "--json"))["data"]["patients"] == 12
    (listed,) = json.loads(done(lungs, "data", "list", "--json"))
    assert (listed["name"], listed["problem"]) == ("north", None)
    assert json.loads(done(lungs, "studies", "--json"))[0]["state"] == "waiting"
    assert json.loads(done(lungs, "studies", study.id, "--json"))["approvable"]
    assert json.loads(done(lungs, "data", "check", study.id, "--json"))["study"] == study.id
    answer = json.loads(done(lungs, "approve", study.id, "--by", "M. Roth", "--json"))
    assert (answer["decision"]["verdict"], answer["study"]["study"]) == ("approved", study.id)
    assert json.loads(done(lungs, "reject", study.id, "--by", "M. Roth", "--json"))["verdict"] == "withdrawn"
    assert json.loads(done(lungs, "policy", "--json"))["approvers"]["value"] == 1


def test_two_people_and_several_data_sets(lungs: Consortium, tmp_path: Path) -> None:
    (lungs.home.path / "policy.toml").write_bytes(OPEN.model_copy(update={"approvers": 2}).as_toml())
    study = open_study()
    lungs.propose(study)
    for number, name in enumerate(("a", "b")):
        manifest = put_data(tmp_path / name, first=100 * number)
        done(lungs, "data", "add", str(manifest), "--name", name)
    people = ("--by", "M. Roth", "--second", "A. Okafor")
    assert "WR-1919" in failed(lungs, "approve", study.id, "--by", "M. Roth", "--data", "b")
    assert "--data NAME" in " ".join(failed(lungs, "approve", study.id, *people).split())
    done(lungs, "approve", study.id, *people, "--data", "b", "--yes")
    assert Home(lungs.home.path).names_of(study.id) == ("b",)
    done(lungs, "data", "remove", "b")
    assert "WR-1920" in failed(lungs, "data", "check", study.id)
    assert "WR-1920" in failed(lungs, "data", "remove", "b")


def test_a_changed_manifest_is_shown_and_refused(lungs: Consortium, tmp_path: Path) -> None:
    path, study = put_data(tmp_path / "data"), open_study()
    lungs.propose(study)
    done(lungs, "data", "add", str(path))
    path.write_text(path.read_text().replace('"DX"', '"CR"'))
    assert "WR-1920" in done(lungs, "data", "list")
    assert "WR-1920" in failed(lungs, "approve", study.id, "--by", "M. Roth")
    done(lungs, "data", "add", str(path))
    assert "as registered" in done(lungs, "data", "list")
    done(lungs, "approve", study.id, "--by", "M. Roth")


@pytest.mark.parametrize(("answer", "approved"), [("n", False), ("", False), ("y", True)])
def test_on_a_terminal_it_asks_once_more(answer: str, approved: bool, lungs: Consortium, tmp_path: Path) -> None:  # noqa: FBT001
    study = open_study()
    lungs.propose(study)
    done(lungs, "data", "add", str(put_data(tmp_path / "data")))
    ours, theirs = os.openpty()
    os.write(ours, f"{answer}\n".encode())
    command = [str(Path(sys.executable).with_name("wardround")), "hospital", "approve", study.id, "--by", "M. Roth"]
    environment = os.environ | {"WARDROUND_HOME": str(lungs.home.path)}
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, stdin=theirs)
    assert "Approve this study as M. Roth?" in found.stdout
    assert (found.returncode == 0, Home(lungs.home.path).is_approved(study.id)) == (approved, approved)
    assert len(pending_decisions(lungs.home)) == approved


def test_policy_is_shown_with_what_was_changed(lungs: Consortium) -> None:
    text = done(lungs, "policy")
    assert "open, private" in text
    assert str(lungs.home.path / "policy.toml") in text


def test_a_folder_has_to_be_named(lungs: Consortium) -> None:
    for arguments in (("studies",), ("policy",), ("data", "list"), ("reject", "ab" * 32, "--by", "M. Roth")):
        assert "WR-1914" in failed(None, *arguments)
    assert run(None, "policy", "--home", str(lungs.home.path)).returncode == 0


@pytest.mark.parametrize("arguments", [("approve", "ab" * 32), ("approve", "--by", "x"), ("studies", "--colour")])
def test_wrong_usage(arguments: tuple[str, ...], lungs: Consortium) -> None:
    assert run(lungs, *arguments).returncode == 2
