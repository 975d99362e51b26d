"""The hospital's home folder: secrets, approvals, settings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from wardround.client.home import Home, RegisteredData, create_home, write_atomically
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId
from wardround.common.study import Study, build_study

STUDY = build_study(
    {
        "schema": 1,
        "name": "small",
        "title": "Small",
        "sites": ["north"],
        "task": {"kind": "classification", "target": "binary", "labels": ["x"], "dimensions": 2},
        "input": {"size": [64, 64]},
        "model": {"name": "small_cnn"},
        "training": {"rounds": 1, "epochs": 1, "loss": "bce"},
    }
)


def make(path: Path, secret: bytes | None = None) -> Home:
    data = [RegisteredData(manifest=Path('/data/a "quoted" \\ name.toml'), root=Path("/data"))]
    return create_home(path, SiteId("north"), data, device="cpu", threads=2, secret=secret)


def test_settings_survive(tmp_path: Path) -> None:
    settings = make(tmp_path).settings
    assert (settings.site, settings.device, settings.threads) == ("north", "cpu", 2)
    assert settings.data[0].manifest == Path('/data/a "quoted" \\ name.toml')


@pytest.mark.parametrize(("name", "usable"), [("小\u3000 b\t", True), ("a\nb", False), ("a\udcff", False)])
def test_paths_that_settings_cannot_hold_are_refused(name: str, usable: bool, tmp_path: Path) -> None:  # noqa: FBT001
    data = [RegisteredData(manifest=Path(name))]
    if usable:
        home = create_home(tmp_path, SiteId("north"), data, device="cpu", threads=1)
        assert home.settings.data[0].manifest == Path(name)
        return
    with pytest.raises(WardroundError) as refused:
        create_home(tmp_path, SiteId("north"), data, device="cpu", threads=1)
    assert refused.value.code == "WR-1305"


def test_a_home_without_usable_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardroundError) as refused:
        Home(tmp_path)
    assert refused.value.code == "WR-1305"
    (tmp_path / "hospital.toml").write_text('schema = 1\nsite = "north"\nsurprise = 1\n')
    with pytest.raises(WardroundError, match="surprise") as refused:
        Home(tmp_path)
    assert refused.value.code == "WR-1305"


def test_patient_keys_depend_on_the_patient_and_the_secret(tmp_path: Path) -> None:
    home, again = make(tmp_path / "a"), Home(tmp_path / "a")
    other = make(tmp_path / "b")
    assert home.patient_key("p1") == again.patient_key("p1")
    assert len({home.patient_key("p1"), home.patient_key("p2"), other.patient_key("p1")}) == 3
    assert (tmp_path / "a" / "patient.key").stat().st_mode & 0o777 == 0o600


def test_a_given_secret_makes_keys_comparable(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", b"s" * 32), make(tmp_path / "b", b"s" * 32)
    assert first.patient_key("p1") == second.patient_key("p1")


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "patient.key").write_bytes(b"short")
    with pytest.raises(WardroundError) as refused:
        Home(tmp_path)
    assert refused.value.code == "WR-1305"


def test_only_approved_studies_are_found(tmp_path: Path) -> None:
    home = make(tmp_path)
    with pytest.raises(WardroundError) as refused:
        home.approved(STUDY.id)
    assert refused.value.code == "WR-1304"
    home.approve(STUDY)
    assert home.approved(STUDY.id) == STUDY


def test_an_approved_study_that_was_changed_is_refused(tmp_path: Path) -> None:
    home = make(tmp_path)
    home.approve(STUDY)
    other = Study.model_validate(STUDY.model_dump(by_alias=True) | {"title": "Other"})
    file = next((tmp_path / "studies").iterdir())
    file.write_bytes(other.canonical())
    with pytest.raises(WardroundError) as refused:
        home.approved(STUDY.id)
    assert refused.value.code == "WR-1304"


def test_a_study_id_cannot_leave_the_folder(tmp_path: Path) -> None:
    home = make(tmp_path)
    (tmp_path / "outside.json").write_bytes(STUDY.canonical())
    with pytest.raises(WardroundError) as refused:
        home.approved(StudyId("../outside"))
    assert refused.value.code == "WR-1304"


def test_atomic_writes_leave_no_rest(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"one")
    write_atomically(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_weights_are_found_by_their_hash_alone(tmp_path: Path) -> None:
    home, content = make(tmp_path), b"weights"
    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(WardroundError, match=f"north holds no models/{digest}.safetensors") as refused:
        home.weights(digest)
    assert refused.value.code == "WR-1208"
    home.keep_weights(content)
    assert home.weights(digest) == content
    (tmp_path / "models" / f"{digest}.safetensors").write_bytes(b"others")
    with pytest.raises(WardroundError, match="has the SHA-256") as refused:
        home.weights(digest)
    assert refused.value.code == "WR-1208"
    path = home.path / "models" / f"{digest}.safetensors"
    path.unlink()
    path.mkdir()
    with pytest.raises(WardroundError, match="WR-1208"):
        home.weights(digest)
