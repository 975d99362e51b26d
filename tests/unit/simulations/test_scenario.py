"""Scenario files: what is refused, what comes with wardround, and which arms are trained."""

import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.models.catalogue import build_model
from wardround.common.models.state import state_arrays
from wardround.common.rounds.encodings import training_encoding
from wardround.common.study import parse_toml
from wardround.common.vector import Layout
from wardround.simulations.scenario import SCENARIOS, build_scenario, load_scenario, scenario_names

SHIPPED = (
    "cord",
    "cxr",
    "cxr-dp",
    "hippocampus",
    "hippocampus-dp",
    "hippocampus-shift",
    "lungseg",
    "phantom-3d",
    "phantom-cxr",
)


def fields_of(name: str) -> dict:
    return parse_toml((SCENARIOS / f"{name}.toml").read_text(encoding="utf-8"))


def refusal(fields: dict) -> WardroundError:
    with pytest.raises(WardroundError) as caught:
        build_scenario(fields)
    return caught.value


def test_these_scenarios_come_with_wardround() -> None:
    assert scenario_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_scenario_loads_and_says_what_it_can_and_cannot_show(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.study.name == name
    assert len(scenario.study.claim) > 60
    assert len(scenario.study.limits) > 60
    header = (SCENARIOS / f"{name}.toml").read_text(encoding="utf-8").split("schema = 1")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert "Can show:" in header
    assert "Cannot show:" in header


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in ("cord", "cxr-dp", "hippocampus-dp")])
def test_every_shipped_federation_has_what_mode_private_needs(name: str) -> None:
    """``cord`` has one person a hospital and no federation of all; noise in the sum has a lattice of its own."""
    study = load_scenario(name, ["aggregation.mode=private"]).study
    layout = Layout.of(state_arrays(build_model(study, seed=0)))
    assert len(study.secure.bounds(layout)) == len(layout.entries)
    assert study.colluding == (1 if name == "hippocampus-shift" else 0)
    assert study.ring_bits == (16 if study.task.kind == "classification" else 32)


@pytest.mark.parametrize("name", ["cxr-dp", "hippocampus-dp"])
def test_the_shipped_promise_is_kept_with_every_hospital_s_share_of_the_noise(name: str) -> None:
    study = load_scenario(name).study
    layout = Layout.of(state_arrays(build_model(study, seed=0)))
    assert training_encoding(study, layout).noise is not None
    assert study.promise.noise_multiplier is not None
    assert study.aggregation.min_sites == 3


def test_a_file_is_read_like_a_shipped_scenario(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((SCENARIOS / "cxr.toml").read_text(encoding="utf-8"), encoding="utf-8")
    assert load_scenario(str(path)) == load_scenario("cxr")


def test_unknown_names_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WardroundError) as unknown:
        load_scenario("cxrr")
    assert unknown.value.code == "WR-1004"
    assert "ends in .toml" in unknown.value.what
    assert "phantom-cxr" in unknown.value.what
    with pytest.raises(WardroundError) as missing:
        load_scenario(str(tmp_path / "absent.toml"))
    assert missing.value.code == "WR-1001"


def test_settings_reach_the_study_and_the_simulation() -> None:
    scenario = load_scenario("cxr", ["training.rounds=3", "simulation.arms=['federated']"])
    assert scenario.study.training.rounds == 3
    assert [arm.name for arm in scenario.arms()] == ["federated"]


def test_the_virtual_hospitals_are_no_part_of_the_study_id() -> None:
    plain = load_scenario("phantom-cxr")
    assert load_scenario("phantom-cxr", ["simulation.phantom.seed=7"]).study.id == plain.study.id
    assert load_scenario("phantom-cxr", ["training.rounds=3"]).study.id != plain.study.id


def test_a_study_without_simulation_is_refused() -> None:
    fields = fields_of("cxr")
    build_scenario(fields)
    del fields["simulation"]
    assert refusal(fields).code == "WR-1010"


def _set(path: str, value: object) -> Callable[[dict], None]:
    def change(fields: dict) -> None:
        *sections, last = path.split(".")
        for key in sections:
            fields = fields[int(key) if key.isdigit() else key]
        fields[last] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("cxr", _set("simulation.arm", ["federated"]), "arm"),
        ("cxr", _set("simulation.arms", ["centralised-leave-one-out"]), "arms of protocol within-site"),
        ("cxr", _set("simulation.arms", ["federated", "federated"]), "each once"),
        ("cxr", _set("simulation.unseen", []), "misc_open"),
        ("cxr", _set("simulation.unseen", ["misc_open", "mhh"]), "misc_open"),
        ("cxr", _set("simulation.sites.0.name", "gwcmc"), "same name"),
        ("cxr", _set("simulation.sites.0.patients", 5), "for phantoms"),
        ("cxr", _set("simulation.sites.0.share", 0), "share"),
        ("cxr", _set("simulation.sites.0.scanner", {"gama": 1.0}), "gama"),
        ("cxr", _set("simulation.source.table.file", "../labels.csv"), "below the data root"),
        ("cxr", _set("simulation.source.target.classes", {"0": "a", "1": "b"}), "binary"),
        ("cxr", _set("simulation.phantom", {"kind": "chest", "size": [96, 96]}), "exactly one"),
        ("phantom-cxr", _set("simulation.sites.0.where", {"site": "x"}), "data on disk"),
        ("phantom-cxr", _set("simulation.sites.0.prevalence", None), "patients and prevalence"),
        ("phantom-cxr", _set("simulation.phantom.size", [96, 96, 96]), "two numbers"),
        ("phantom-cxr", _set("simulation.phantom.images_per_patient", [3, 1]), "fewest"),
        ("phantom-cxr", _set("simulation.sites.0.case_mix", {"nodule": 0.9}), "sum to 1"),
        ("phantom-3d", _set("simulation.sites.0.case_mix", {}), "chest"),
        ("cord", _set("split.test", 0.2), "split.test 0"),
        ("cord", _set("split.min_patients", 2), "min_patients 1"),
        ("cord", _set("simulation.arms", ["federated"]), "leave-one-site-out"),
    ],
)
def test_mistakes_are_refused_by_name(name: str, change: Callable[[dict], None], named: str) -> None:
    fields = fields_of(name)
    build_scenario(copy.deepcopy(fields))
    change(fields)
    error = refusal(fields)
    assert error.code == "WR-1010"
    assert named in error.what


def test_arms_within_sites() -> None:
    arms = {arm.name: arm for arm in load_scenario("cxr").arms()}
    trained, everywhere = ("nih_cc", "gwcmc", "mhh"), ("nih_cc", "gwcmc", "mhh", "misc_open")
    assert list(arms) == [
        "federated",
        "centralised",
        *(f"{kind}/{s}" for kind in ("local", "leave-one-out") for s in trained),
    ]
    assert all(arm.tested_on == everywhere for arm in arms.values())
    assert arms["federated"].trains_on == arms["centralised"].trains_on == trained
    assert arms["local/mhh"].trains_on == ("mhh",)
    assert arms["leave-one-out/mhh"].trains_on == ("nih_cc", "gwcmc")
    assert [arm.name for arm in arms.values() if arm.federated] == [
        "federated", "leave-one-out/nih_cc", "leave-one-out/gwcmc", "leave-one-out/mhh",
    ]  # fmt: skip


def test_leaving_a_site_out_never_tests_where_it_trained() -> None:
    scenario = load_scenario("cord")
    arms = {arm.name: arm for arm in scenario.arms()}
    assert arms["leave-one-out/ucl"].tested_on == arms["centralised-leave-one-out/ucl"].tested_on == ("ucl",)
    assert arms["local/ucl"].tested_on == ("ceitec", "milan", "nwu")
    for arm in arms.values():
        assert not set(arm.trains_on) & set(arm.tested_on)
        assert set(arm.trains_on) | set(arm.tested_on) == set(scenario.sites)


def test_a_site_that_does_not_exist_is_a_bug() -> None:
    scenario = load_scenario("cxr")
    assert scenario.site(scenario.sites[0]).name == "nih_cc"
    with pytest.raises(ValueError, match="no site"):
        scenario.site("elsewhere")


def test_the_example_in_the_documentation_is_a_scenario(root: Path) -> None:
    page = (root / "deploy" / "docs" / "scenarios.md").read_text(encoding="utf-8")
    examples = "".join(re.findall(r"^```toml\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE))
    scenario = build_scenario({**fields_of("cxr"), "sites": ["north", "south"], **parse_toml(examples)})
    assert scenario.unseen == ("elsewhere",)
    assert scenario.site(SiteId("south")).scanner is not None
    assert [fault.site for fault in scenario.faults] == ["south"]
