"""``evaluate`` refuses with the code of what is wrong, and can be asked again once that is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.scenarios import chest_scenario

from wardround.common.errors import WardroundError
from wardround.common.model_folder import encode_model
from wardround.common.models.catalogue import build_model
from wardround.common.models.state import state_arrays
from wardround.common.vector import Layout, vector_hash
from wardround.simulations.evaluation import evaluate_model
from wardround.simulations.sites.materialise import materialise

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    study = chest_scenario().study
    state = state_arrays(build_model(study, seed=0))
    layout = Layout.of(state)
    vector = layout.flatten(state)
    folder = tmp_path / "model"
    folder.mkdir()
    card = {"study": study.id, "model": vector_hash(vector), "seed": 0}
    for name, content in encode_model(study, layout, vector, card).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return next(iter(materialise(chest_scenario(), None, tmp_path / "sites").values())).manifest


def code(model: Path, data: Path, out: Path, device: str = "cpu") -> str:
    with pytest.raises(WardroundError) as refused:
        evaluate_model(model, data, None, out, device=device)
    return refused.value.code


def test_a_missing_image_is_named_and_mended(model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    image = next((data.parent / "images").iterdir())
    content = image.read_bytes()
    image.unlink()
    assert code(model, data, out) == "WR-1107"
    image.write_bytes(content)
    assert evaluate_model(model, data, None, out, device="cpu").metrics
    assert code(model, data, out) == "WR-1501", "a result is never overwritten"


def test_the_folder_of_something_else_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "hospital").mkdir(parents=True)
    with pytest.raises(WardroundError, match="WR-1501") as refused:
        evaluate_model(model, data, None, tmp_path / "out", device="cpu")
    assert "--resume" not in refused.value.fix, "nothing is gone on with"


def test_data_of_another_task_are_refused(model: Path, data: Path, tmp_path: Path) -> None:
    other = data.with_name("other.toml")
    other.write_text(data.read_text().replace('1 = "abnormal"', '1 = "fracture"'))
    assert code(model, other, tmp_path / "out") == "WR-1116"


def test_names_of_summary_rows_are_refused_as_data_sets(model: Path, data: Path, tmp_path: Path) -> None:
    other = data.with_name("other.toml")
    other.write_text(data.read_text().replace('name = "north"', 'name = "mean"'))
    assert code(model, other, tmp_path / "out") == "WR-1102"


def test_an_absent_gpu_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    assert code(model, data, tmp_path / "out", device="cuda:99") == "WR-1601"
