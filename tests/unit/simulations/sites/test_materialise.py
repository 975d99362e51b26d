"""Virtual hospitals become ordinary data sets that the hospital's own reader accepts."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from wardround.client.data.manifest import load_manifest
from wardround.client.data.readers import read_image
from wardround.client.data.samples import load_data_set
from wardround.common.errors import WardroundError
from wardround.simulations.scenario import Scenario, build_scenario
from wardround.simulations.sites.materialise import SiteSource, materialise

PATIENTS = 8


def fields(sites: list[dict], *, unseen: tuple[str, ...] = ()) -> dict:
    return {
        "schema": 1,
        "name": "tiny",
        "title": "Tiny",
        "sites": [site["name"] for site in sites if site["name"] not in unseen],
        "task": {"kind": "segmentation", "labels": ["lung"], "dimensions": 2},
        "input": {"size": [16, 16]},
        "model": {"name": "unet"},
        "training": {"rounds": 1, "epochs": 1, "loss": "dice_ce"},
        "simulation": {
            "unseen": list(unseen),
            "source": {
                "modality": "DX",
                "table": {"file": "set/table.csv"},
                "patient": {"column": "who"},
                "channels": [{"name": "image", "column": "image", "format": "png"}],
                "target": {"kind": "segmentation", "column": "mask", "format": "png", "classes": {"255": "lung"}},
            },
            "sites": sites,
        },
    }


def scenario_of(*sites: dict, unseen: tuple[str, ...] = ()) -> Scenario:
    return build_scenario(fields(list(sites), unseen=unseen))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two hospitals, A with 8 patients of two images each, B with one of A's columns but own patients."""
    folder = tmp_path / "data" / "set"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["image,mask,who,hospital"]
    for hospital in "AB":
        for patient in range(PATIENTS):
            for shot in range(2):
                name = f"{hospital}{patient}{shot}.png"
                Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(folder / "images" / name)
                mask = np.zeros((20, 24), np.uint8)
                mask[5:15, 5 : 10 + patient] = 255
                Image.fromarray(mask).save(folder / "images" / f"m{name}")
                lines.append(f"images/{name},images/m{name},{hospital}-person-{patient},{hospital}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "data"


def patients(source: SiteSource, scenario: Scenario) -> set[str]:
    return set(load_data_set(source.manifest, scenario.study, root=source.root).patients)


def test_a_site_without_scanner_uses_the_images_in_place(data: Path, tmp_path: Path) -> None:
    scenario = scenario_of({"name": "a", "where": {"hospital": "A"}}, {"name": "b", "where": {"hospital": "B"}})
    sources = materialise(scenario, data, tmp_path / "out")
    assert list(sources) == ["a", "b"]
    assert sources["a"].root == data / "set"
    assert patients(sources["a"], scenario) == {f"A-person-{number}" for number in range(PATIENTS)}
    assert {path.name for path in (tmp_path / "out" / "a").iterdir()} == {"manifest.toml", "made_from.json"}


def test_sites_with_the_same_where_divide_its_patients(data: Path, tmp_path: Path) -> None:
    everyone = {"hospital": ["A", "B"]}
    scenario = scenario_of(*({"name": name, "where": everyone, "share": share} for name, share in (("a", 1), ("b", 3))))
    sources = materialise(scenario, data, tmp_path / "out")
    first, second = (patients(source, scenario) for source in sources.values())
    assert (len(first), len(second)) == (4, 12)
    assert not first & second


def test_unseen_sites_are_written_too(data: Path, tmp_path: Path) -> None:
    scenario = scenario_of(
        {"name": "b", "where": {"hospital": "B"}}, {"name": "a", "where": {"hospital": "A"}}, unseen=("b",)
    )
    assert list(materialise(scenario, data, tmp_path / "out")) == ["a", "b"]


def test_a_scanner_changes_images_and_never_masks(data: Path, tmp_path: Path) -> None:
    site = {"name": "a", "where": {"hospital": "A"}, "scanner": {"inverted": True, "noise": 0.05}}
    scenario = scenario_of(site)
    source = materialise(scenario, data, tmp_path / "out")["a"]
    loaded = load_data_set(source.manifest, scenario.study, root=source.root)
    original = sorted((data / "set" / "images").glob("A*.png"))
    assert len(loaded.samples) == len(original) == 2 * PATIENTS
    for sample, path in zip(loaded.samples, original, strict=True):
        before = np.asarray(Image.open(path), float)
        after = read_image(sample.channels[0].read_bytes(), "png").array
        assert after.dtype == np.uint16
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] < -0.9
        assert sample.mask is not None
        assert sample.mask.read_bytes() == path.with_name(f"m{path.name}").read_bytes()


def test_a_second_call_reuses_and_a_changed_scanner_does_not(data: Path, tmp_path: Path) -> None:
    site = {"name": "a", "where": {"hospital": "A"}, "scanner": {"noise": 0.05}}
    written = tmp_path / "out" / "a" / "table.csv"
    materialise(scenario_of(site), data, tmp_path / "out")
    first = written.stat().st_mtime_ns
    materialise(scenario_of(site), data, tmp_path / "out")
    assert written.stat().st_mtime_ns == first
    materialise(scenario_of({**site, "scanner": {"noise": 0.06}}), data, tmp_path / "out")
    assert written.stat().st_mtime_ns != first


def test_an_image_that_changed_on_disk_is_scanned_again(data: Path, tmp_path: Path) -> None:
    scenario = scenario_of({"name": "a", "where": {"hospital": "A"}, "scanner": {"gamma": 2.0}})
    before = (materialise(scenario, data, tmp_path / "out")["a"].root / "image" / "row_000002.png").read_bytes()
    Image.fromarray(np.eye(20, 24, dtype=np.uint8)).save(data / "set" / "images" / "A00.png")
    after = (materialise(scenario, data, tmp_path / "out")["a"].root / "image" / "row_000002.png").read_bytes()
    assert before != after


def test_a_volume_keeps_its_geometry_through_a_scanner(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    affine = np.array([[0, -2.0, 0, 9], [1.5, 0, 0, -4], [0, 0, 3.0, 1], [0, 0, 0, 1]])
    mask = np.zeros((10, 12, 8), np.uint8)
    mask[2:5, 3:9, 1:6] = 255
    nib.save(nib.Nifti1Image(mask.astype(np.float32), affine), folder / "i.nii.gz")
    nib.save(nib.Nifti1Image(mask, affine), folder / "m.nii.gz")
    (folder / "table.csv").write_text("image,mask,who\ni.nii.gz,m.nii.gz,p\n", encoding="utf-8")
    changed = fields([{"name": "a", "scanner": {"intensity_scale": 1000, "downsample": [1, 1, 1]}}])
    changed["task"]["dimensions"], changed["input"]["size"] = 3, [16, 16, 16]
    changed["simulation"]["source"]["channels"][0]["format"] = "nifti"
    changed["simulation"]["source"]["target"]["format"] = "nifti"
    source = materialise(build_scenario(changed), tmp_path / "data", tmp_path / "out")["a"]
    image = read_image((source.root / "image" / "row_000002.nii").read_bytes(), "nifti")
    reference = read_image((source.root / "mask" / "row_000002.nii.gz").read_bytes(), "nifti")
    np.testing.assert_allclose(image.affine, reference.affine)
    np.testing.assert_allclose(image.array, (reference.array > 0) * 1000.0)
    assert image.array.dtype == np.float32


def test_without_data_the_remedy_names_the_switch_the_variable_and_the_phantoms(data: Path, tmp_path: Path) -> None:
    scenario = scenario_of({"name": "a", "where": {"hospital": "A"}})
    for root in (None, tmp_path):
        with pytest.raises(WardroundError) as caught:
            materialise(scenario, root, tmp_path / "out")
        assert caught.value.code == "WR-1011"
        assert all(word in caught.value.fix for word in ("--data", "WARDROUND_DATA", "phantom-cxr", "phantom-3d"))
    assert materialise(scenario, data, tmp_path / "out")


def test_a_patient_at_two_sites_is_refused_by_row(data: Path, tmp_path: Path) -> None:
    both = ({"name": "a", "where": {"hospital": "A"}}, {"name": "ab", "where": {"hospital": ["A", "B"]}})
    with pytest.raises(WardroundError) as caught:
        materialise(scenario_of(*both), data, tmp_path / "out")
    assert caught.value.code == "WR-1012"
    assert "person" not in caught.value.what
    assert "row" in caught.value.what


def test_a_hospital_without_rows_is_named(data: Path, tmp_path: Path) -> None:
    sites = [{"name": name, "where": {"hospital": letter}} for name, letter in (("north", "A"), ("south", "B"))]
    assert set(materialise(scenario_of(*sites), data, tmp_path / "out")) == {"north", "south"}
    sites[1]["where"] = {"hospital": "b"}
    with pytest.raises(
        WardroundError, match=r"Hospital south: The table has 32 rows, and table\.where leaves"
    ) as caught:
        materialise(scenario_of(*sites), data, tmp_path / "out")
    assert caught.value.code == "WR-1105"


def test_more_sites_than_patients_are_refused(data: Path, tmp_path: Path) -> None:
    def sites(count: int) -> Scenario:
        return scenario_of(*({"name": f"s{number}", "where": {"hospital": "A"}} for number in range(count)))

    assert len(materialise(sites(PATIENTS), data, tmp_path / "out")) == PATIENTS
    with pytest.raises(WardroundError) as caught:
        materialise(sites(PATIENTS + 1), data, tmp_path / "out")
    assert caught.value.code == "WR-1013"


def test_patients_already_listed_cannot_be_shared_as_well(data: Path, tmp_path: Path) -> None:
    one = {"who": ["A-person-1", "A-person-2"]}
    assert materialise(scenario_of({"name": "a", "where": one}), data, tmp_path / "out")
    with pytest.raises(WardroundError) as caught:
        materialise(scenario_of({"name": "a", "where": one}, {"name": "b", "where": one}), data, tmp_path / "out")
    assert caught.value.code == "WR-1010"


@pytest.mark.parametrize("damage", ["missing", "damaged", "outside", "colour"])
def test_images_that_cannot_be_scanned_are_refused_by_row(data: Path, tmp_path: Path, damage: str) -> None:
    scenario = scenario_of({"name": "a", "where": {"hospital": "A"}, "scanner": {"noise": 0.01}})
    materialise(scenario, data, tmp_path / "good")
    image, table = data / "set" / "images" / "A10.png", data / "set" / "table.csv"
    if damage == "missing":
        image.unlink()
    elif damage == "damaged":
        image.write_bytes(image.read_bytes()[:40])
    elif damage == "outside":
        table.write_text(table.read_text().replace("images/A10.png", "../A10.png"))
    else:
        Image.fromarray(np.zeros((20, 24, 3), np.uint8) + np.array([1, 2, 3], np.uint8)).save(image)
    with pytest.raises(WardroundError) as caught:
        materialise(scenario, data, tmp_path / "out")
    assert caught.value.code == "WR-1014"
    assert "row 4" in caught.value.what
    assert not (tmp_path / "out" / "a").exists()


def test_the_manifest_is_as_the_scenario_says(data: Path, tmp_path: Path) -> None:
    scenario = scenario_of({"name": "a", "where": {"hospital": "A"}})
    manifest = load_manifest(materialise(scenario, data, tmp_path / "out")["a"].manifest)
    assert scenario.simulation.source is not None
    assert manifest == scenario.simulation.source.manifest("a", {"hospital": "A"})


def test_real_data_of_every_scenario_are_divided_as_described(data_root: Path, tmp_path: Path) -> None:
    from wardround.simulations.scenario import load_scenario

    expected = {
        "cxr": {"nih_cc": 325, "gwcmc": 276, "mhh": 50, "misc_open": 7},
        "hippocampus": {"a_uint8": 28, "b_1e3": 85, "c_1e6": 18},
        "lungseg": {"hannover_a": 10, "hannover_b": 11, "hannover_c": 10, "misc_open": 5},
        "cord": {"ceitec": 1, "milan": 1, "nwu": 1, "ucl": 1},
    }
    for name, counts in expected.items():
        scenario = load_scenario(name)
        sources = materialise(scenario, data_root, tmp_path / name)
        assert {site: len(patients(source, scenario)) for site, source in sources.items()} == counts
