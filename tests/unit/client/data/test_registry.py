"""Registered data sets: under a name, examined, and refused when their manifest was changed."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

import pytest
from fakes.proposals import NOW, Consortium, open_study, put_data

from wardround.client.approval import People, approve
from wardround.client.data.pool import open_site_data
from wardround.client.data.registry import check_unchanged, choose_data, register, unregister
from wardround.client.home import Home, RegisteredData, create_home
from wardround.client.hospital import Hospital
from wardround.client.policy import Policy
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from pathlib import Path

OPEN = Policy(modes=("open", "private"), without_privacy=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home", SiteId("north"), (), device="cpu", threads=1)


def again(home: Home) -> Home:
    """As another process finds it."""
    return Home(home.path)


def test_a_data_set_is_registered_with_what_it_was(home: Home, tmp_path: Path) -> None:
    path = put_data(tmp_path / "chest")
    item, data = register(home, path)
    assert again(home).settings.data == (item,)
    assert (item.name, item.patients, item.images, item.digest) == ("north", 12, 12, data.digest)
    check_unchanged(item)
    open_site_data([item], open_study(), home.path)


def test_data_that_cannot_be_used_are_not_registered(home: Home, tmp_path: Path) -> None:
    path, before = put_data(tmp_path / "chest"), (home.path / "hospital.toml").read_bytes()
    (tmp_path / "chest" / "3.png").write_bytes(b"")
    with pytest.raises(WardroundError, match="WR-1107"):
        register(home, path)
    with pytest.raises(WardroundError, match="WR-1101"):
        register(home, tmp_path / "absent.toml")
    with pytest.raises(WardroundError, match=r"WR-1101.*chest/manifest\.toml"):
        register(home, tmp_path / "chest")
    assert (home.path / "hospital.toml").read_bytes() == before


def test_a_changed_manifest_is_not_used_until_it_is_registered_again(home: Home, tmp_path: Path) -> None:
    path = put_data(tmp_path / "chest")
    item, _ = register(home, path)
    path.write_text(path.read_text().replace('"DX"', '"CR"'))
    for use in (lambda: check_unchanged(item), lambda: open_site_data([item], open_study(), home.path)):
        with pytest.raises(WardroundError, match="was changed since it was registered") as refused:
            use()
        assert refused.value.code == "WR-1920"
    changed, _ = register(again(home), path)
    assert again(home).settings.data == (changed,)
    check_unchanged(changed)


def test_a_manifest_that_is_gone_is_said_to_be(home: Home, tmp_path: Path) -> None:
    item, _ = register(home, put_data(tmp_path / "chest"))
    item.manifest.unlink()
    with pytest.raises(WardroundError, match="WR-1920"):
        check_unchanged(item)


def test_a_name_belongs_to_one_manifest(home: Home, tmp_path: Path) -> None:
    register(home, put_data(tmp_path / "a"), name="chest")
    other = put_data(tmp_path / "b", first=100)
    with pytest.raises(WardroundError, match="is taken") as refused:
        register(again(home), other, name="chest")
    assert refused.value.code == "WR-1920"
    register(again(home), other, name="chest.2")
    assert [item.name for item in again(home).settings.data] == ["chest", "chest.2"]


@pytest.mark.parametrize("name", ["Chest", "a b", "../x", "", 'x"\n'])
def test_names_that_could_mean_something_else_are_refused(name: str, home: Home, tmp_path: Path) -> None:
    path = put_data(tmp_path / "a", name="fine")
    if name:
        with pytest.raises(WardroundError, match="WR-1920"):
            register(home, path, name=name)
    assert register(home, path, name="")[0].name == "fine"


def test_people_choose_where_there_is_a_choice(home: Home, tmp_path: Path) -> None:
    with pytest.raises(WardroundError, match="WR-1920"):
        choose_data(home.settings, ())
    first, _ = register(home, put_data(tmp_path / "a"), name="a")
    assert choose_data(again(home).settings, ()) == (first,)
    second, _ = register(again(home), put_data(tmp_path / "b", first=100), name="b")
    settings = again(home).settings
    with pytest.raises(WardroundError, match="2 data sets: a, b"):
        choose_data(settings, ())
    assert choose_data(settings, ("b",)) == (second,)
    assert choose_data(settings, ("b", "a", "b")) == (second, first)
    with pytest.raises(WardroundError, match="No data set 'c'"):
        choose_data(settings, ("c",))


def test_comments_and_other_settings_stay_when_data_sets_come_and_go(home: Home, tmp_path: Path) -> None:
    file = home.path / "hospital.toml"
    file.write_text(file.read_text().replace("threads = 1", "threads = 3  # night shift\n\n# ours:"))
    register(again(home), put_data(tmp_path / "a"), name="a")
    register(again(home), put_data(tmp_path / "b", first=100), name="b")
    file.write_text(file.read_text().replace('name = "b"', 'name = "b"  # the new scanner'))
    unregister(again(home), "a")
    text = file.read_text()
    assert ("# night shift" in text, "# ours:" in text, "# the new scanner" in text) == (True, True, True)
    assert [item["name"] for item in tomllib.loads(text)["data"]] == ["b"]
    assert again(home).settings.threads == 3
    unregister(again(home), "b")
    assert again(home).settings.data == ()
    with pytest.raises(WardroundError, match="WR-1920"):
        unregister(again(home), "b")


def test_settings_that_cannot_be_edited_safely_are_left_alone(home: Home, tmp_path: Path) -> None:
    item, _ = register(home, put_data(tmp_path / "a"), name="a")
    file = home.path / "hospital.toml"
    inline = f'schema = 1\nsite = "north"\ndata = [{{ name = "a", manifest = "{item.manifest}" }}]\n'
    file.write_text(inline)
    with pytest.raises(WardroundError, match="by hand") as refused:
        unregister(again(home), "a")
    assert refused.value.code == "WR-1305"
    assert file.read_text() == inline


def test_a_study_trains_on_the_data_sets_that_it_was_approved_for(tmp_path: Path) -> None:
    lungs = Consortium.around(tmp_path / "home", policy=OPEN)
    for number, name in enumerate(("a", "b")):
        register(again(lungs.home), put_data(tmp_path / name, patients=10 + number, first=100 * number), name=name)
    lungs = Consortium(lungs.authority, again(lungs.home))
    proposal, study = lungs.propose(open_study()), open_study()
    with pytest.raises(WardroundError, match="WR-1920"):
        approve(lungs.home, proposal, People("M. Roth"), now=NOW)
    patients = {}
    for names in (("a",), ("b",), ("a", "b")):
        approve(lungs.home, proposal, People("M. Roth"), data=names, now=NOW)
        assert lungs.home.names_of(study.id) == names
        patients[names] = len(set(Hospital(lungs.home, {}).data(study).prepared.patients))
    assert patients == {("a",): 10, ("b",): 11, ("a", "b"): 21}


def test_a_study_whose_data_set_is_gone_is_refused(tmp_path: Path) -> None:
    lungs = Consortium.around(tmp_path / "home", policy=OPEN)
    register(again(lungs.home), put_data(tmp_path / "a"), name="a")
    lungs = Consortium(lungs.authority, again(lungs.home))
    approve(lungs.home, lungs.propose(open_study()), People("M. Roth"), now=NOW)
    Hospital(lungs.home, {}).data(open_study())
    unregister(lungs.home, "a")
    register(again(lungs.home), put_data(tmp_path / "b", first=100), name="b")
    with pytest.raises(WardroundError, match="No data set 'a'"):
        Hospital(again(lungs.home), {}).data(open_study())


def test_a_patient_has_one_key_whatever_the_data_set_is_called(home: Home, tmp_path: Path) -> None:
    first, _ = register(home, put_data(tmp_path / "a"), name="a")
    renamed, _ = register(again(home), put_data(tmp_path / "copy"), name="b")
    sets = [open_site_data([item], open_study(), home.path) for item in (first, renamed)]
    keys = [{home.patient_key(patient) for patient in found.prepared.patients} for found in sets]
    assert keys[0] == keys[1]
    with pytest.raises(WardroundError, match="WR-1118"):
        open_site_data([first, renamed], open_study(), home.path)


def test_data_that_a_program_registered_need_no_name(tmp_path: Path) -> None:
    path = put_data(tmp_path / "a")
    made = create_home(
        tmp_path / "home", SiteId("north"), [RegisteredData(manifest=path)], device="cpu", threads=os.cpu_count() or 1
    )
    made.approve(open_study())
    assert made.data_of(open_study().id) == made.settings.data
