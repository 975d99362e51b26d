"""Phantom cohorts: what is drawn is what the table says, and a hospital can read it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from wardround.client.data.samples import load_data_set
from wardround.common.errors import WardroundError
from wardround.simulations.scenario import load_scenario
from wardround.simulations.sites.chest import draw_chests
from wardround.simulations.sites.materialise import materialise
from wardround.simulations.sites.organ import draw_organs
from wardround.simulations.sites.phantom import CaseMix, Cohort, Phantom

CHEST = Phantom(kind="chest", size=(64, 64), images_per_patient=(1, 3))
ORGAN = Phantom(kind="organ", size=(24, 24, 24), images_per_patient=(1, 2))


def chests(prevalence: float = 0.5, mix: CaseMix | None = None, seed: int = 0, patients: int = 20) -> Cohort:
    return draw_chests(CHEST, patients, prevalence, mix or CaseMix(), np.random.default_rng(seed))


def organs(prevalence: float = 0.5, seed: int = 0) -> Cohort:
    return draw_organs(ORGAN, 12, prevalence, np.random.default_rng(seed))


@pytest.mark.parametrize("draw", [chests, organs])
def test_images_are_in_range_and_drawn_the_same_way_again(draw: Callable[..., Cohort]) -> None:
    first, again, other = draw(seed=1), draw(seed=1), draw(seed=2)
    assert first.images.dtype == np.float32
    assert first.images.min() >= 0
    assert first.images.max() <= 1
    assert all(image.std() > 0.05 for image in first.images)
    np.testing.assert_array_equal(first.images, again.images)
    assert len(first.images) != len(other.images) or not np.array_equal(first.images, other.images)


@pytest.mark.parametrize(("draw", "patients"), [(chests, 20), (organs, 12)])
def test_every_patient_has_images_as_asked_and_one_truth(draw: Callable[..., Cohort], patients: int) -> None:
    cohort = draw()
    counts = np.bincount(cohort.patients, minlength=patients)
    assert counts.min() >= 1
    assert counts.max() <= (3 if draw is chests else 2)
    for finding in cohort.findings.values():
        for patient in range(patients):
            assert len(set(finding[cohort.patients == patient])) == 1


def test_images_of_a_patient_are_alike_but_not_equal() -> None:
    cohort = chests(prevalence=0, patients=12)
    flat = cohort.images.reshape(len(cohort.images), -1)
    correlation = np.corrcoef(flat)
    same = cohort.patients[:, None] == cohort.patients[None, :]
    pairs = same & ~np.eye(len(same), dtype=bool)
    assert correlation[pairs].max() < 0.9999
    assert correlation[pairs].mean() > correlation[~same].mean()


def test_prevalence_and_case_mix_are_kept() -> None:
    assert not chests(prevalence=0).findings["abnormal"].any()
    nodules = chests(prevalence=1, mix=CaseMix(nodule=1, opacity=0, both=0)).findings
    assert nodules["abnormal"].all()
    assert nodules["nodule"].all()
    assert not nodules["opacity"].any()
    half = chests(prevalence=0.5, patients=400).findings
    np.testing.assert_array_equal(half["abnormal"], half["nodule"] | half["opacity"])
    assert half["abnormal"].mean() == pytest.approx(0.5, abs=0.1)


def test_lesions_make_lungs_denser() -> None:
    """The same generator draws the same anatomy, so that the lesions are the only difference."""
    ill, well = chests(prevalence=1), chests(prevalence=0)
    difference = ill.images - well.images
    assert difference.min() > -1e-6
    assert all(image.max() > 0.1 for image in difference)
    assert difference.mean() < 0.1


def test_lesions_lie_inside_the_organ_and_only_in_patients_who_have_them() -> None:
    cohort = organs()
    assert cohort.masks is not None
    for mask, abnormal in zip(cohort.masks, cohort.findings["abnormal"], strict=True):
        assert (mask == 1).sum() > 200
        assert (mask == 2).any() == bool(abnormal)
        grown = ndimage.binary_dilation(mask > 0, iterations=1)
        assert not grown[0].any() or not grown[-1].any()
        pieces, count = ndimage.label(mask > 0)
        assert np.bincount(pieces.ravel())[1:].max() > 0.98 * (mask > 0).sum(), count


def test_a_lesion_is_darker_than_its_organ() -> None:
    cohort = organs(prevalence=1)
    assert cohort.masks is not None
    for image, mask in zip(cohort.images, cohort.masks, strict=True):
        assert image[mask == 2].mean() < image[mask == 1].mean() - 0.05


BINARY = ["task.target=binary", "task.labels=['nodule']"]
MULTILABEL = ["task.target=multilabel", "task.labels=['nodule', 'opacity']"]
MULTICLASS = [
    "task.target=multiclass", "task.labels=['none', 'nodule', 'opacity', 'both']", "training.loss=cross_entropy",
]  # fmt: skip
FEW = ["simulation.phantom.size=[32, 32]", "input.size=[32, 32]"]


@pytest.mark.parametrize("settings", [[], BINARY, MULTILABEL, MULTICLASS])
def test_the_hospital_reads_a_chest_phantom_for_every_kind_of_task(settings: list[str], tmp_path: Path) -> None:
    scenario = load_scenario("phantom-cxr", [*FEW, *settings])
    source = materialise(scenario, None, tmp_path)["north"]
    loaded = load_data_set(source.manifest, scenario.study, root=source.root)
    assert len(set(loaded.patients)) == scenario.site("north").patients
    targets = np.array([sample.targets for sample in loaded.samples])
    assert targets.shape[1] == scenario.study.task.outputs
    assert 0 < targets[:, 0].mean() < 1
    if settings is MULTICLASS:
        assert (targets.sum(1) == 1).all()


def test_the_hospital_reads_an_organ_phantom(tmp_path: Path) -> None:
    scenario = load_scenario("phantom-3d")
    sources = materialise(scenario, None, tmp_path)
    for site, source in sources.items():
        loaded = load_data_set(source.manifest, scenario.study, root=source.root)
        assert len(set(loaded.patients)) == scenario.site(site).patients
        assert all(sample.mask is not None for sample in loaded.samples)


def test_two_hospitals_draw_different_patients(tmp_path: Path) -> None:
    scenario = load_scenario("phantom-cxr", FEW)
    sources = materialise(scenario, None, tmp_path)
    first = [(source.root / "images" / "00001.png").read_bytes() for source in sources.values()]
    assert len(set(first)) == len(first)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("phantom-cxr", ["task.labels=['fracture']"]),
        ("phantom-cxr", ["task.target=multilabel", "task.labels=['nodule', 'fracture']"]),
        ("phantom-3d", ["task.labels=['lesion', 'organ']"]),
    ],
)
def test_a_task_that_the_phantom_cannot_answer_is_refused(name: str, settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(WardroundError) as caught:
        materialise(load_scenario(name, settings), None, tmp_path)
    assert caught.value.code == "WR-1010"
    assert not list(tmp_path.glob("[!.]*"))
