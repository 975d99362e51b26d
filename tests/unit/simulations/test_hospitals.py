"""Virtual hospitals: their keys, their consortium, their policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.scenarios import chest_scenario

from wardround.client.home import Home, RegisteredData, create_home
from wardround.client.identity import accepted_roster, site_key
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.roster import SignedRoster
from wardround.simulations.hospitals import VIRTUAL_POLICY, build_hospitals, enrol, pooled_home

if TYPE_CHECKING:
    from wardround.simulations.hospitals import VirtualHospital


def make_homes(run: Path, *sites: str) -> list[Home]:
    data = [RegisteredData(manifest=Path("data.toml"))]
    return [create_home(run / site, SiteId(site), data, device="cpu", threads=1) for site in sites]


def files(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_every_home_accepts_one_roster_of_all(tmp_path: Path) -> None:
    homes = make_homes(tmp_path, "north", "coast", "valley")
    roster = enrol(homes, tmp_path / "consortium")
    assert {home.site: site_key(home).public for home in homes} == {
        home.site: roster.public_key(home.site) for home in homes
    }
    assert {accepted_roster(home).hash for home in homes} == {roster.hash}
    signed = SignedRoster.from_json((tmp_path / "consortium" / "roster.json").read_bytes())
    signed.verify()
    assert signed.roster == roster
    assert (tmp_path / "consortium" / "authority.key").stat().st_mode & 0o777 == 0o600


def test_a_run_that_is_taken_up_again_keeps_every_key_and_the_roster(tmp_path: Path) -> None:
    enrol(make_homes(tmp_path, "north", "coast"), tmp_path / "consortium")
    before = files(tmp_path)
    assert enrol(make_homes(tmp_path, "north", "coast"), tmp_path / "consortium").version == 1
    assert files(tmp_path) == before


def test_two_runs_have_different_authorities_and_keys(tmp_path: Path) -> None:
    rosters = [enrol(make_homes(tmp_path / name, "north"), tmp_path / name / "consortium") for name in ("a", "b")]
    assert len({roster.hash for roster in rosters}) == 2
    assert len({(tmp_path / name / "consortium" / "authority.key").read_bytes() for name in ("a", "b")}) == 2


def test_another_hospital_or_another_key_is_the_next_version(tmp_path: Path) -> None:
    enrol(make_homes(tmp_path, "north", "coast"), tmp_path / "consortium")
    homes = make_homes(tmp_path, "north", "coast", "valley")
    assert enrol(homes, tmp_path / "consortium").version == 2
    for name in ("identity.key", "roster.json"):
        (tmp_path / "coast" / name).unlink()
    assert enrol(homes, tmp_path / "consortium").version == 3
    assert {accepted_roster(home).version for home in homes} == {3}


def test_homes_of_another_consortium_are_not_taken_over(tmp_path: Path) -> None:
    homes = make_homes(tmp_path, "north", "coast")
    enrol(homes, tmp_path / "consortium")
    with pytest.raises(WardroundError, match="another authority") as refused:
        enrol(homes, tmp_path / "second")
    assert refused.value.code == "WR-1702"


def build(run: Path) -> dict[SiteId, VirtualHospital]:
    return build_hospitals(chest_scenario(), None, run, device="cpu", threads=1, progress=lambda _: None)


def test_the_hospitals_of_a_scenario_are_ready_for_private_and_open_runs(tmp_path: Path) -> None:
    hospitals = build(tmp_path)
    assert list(hospitals) == ["north", "coast", "valley", "island"]
    for hospital in hospitals.values():
        assert set(accepted_roster(hospital.home).members) == set(hospitals)
        assert hospital.home.policy == VIRTUAL_POLICY
    pooled = pooled_home("centralised", hospitals, list(hospitals), tmp_path, chest_scenario().study)
    assert pooled.policy == VIRTUAL_POLICY
    assert not pooled.ledger.exists, "nothing is promised to these patients"
    keys = {site: site_key(hospital.home).private for site, hospital in hospitals.items()}
    assert len(set(keys.values())) == 4
    assert {site: site_key(hospital.home).private for site, hospital in build(tmp_path).items()} == keys


def test_virtual_hospitals_allow_every_mode_and_strength() -> None:
    for mode in ("open", "private"):
        VIRTUAL_POLICY.check_mode(mode)
    for strength in ("active", "semi-honest"):
        VIRTUAL_POLICY.check_strength(strength)
