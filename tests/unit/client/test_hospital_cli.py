"""``wardround hospital data check`` as a hospital's staff meet it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

MANIFEST: dict[str, Any] = {
    "schema": 1,
    "name": "north",
    "modality": "DX",
    "table": {"file": "table.csv"},
    "patient": {"column": "patient"},
    "channels": [{"name": "image", "column": "image", "format": "png"}],
    "target": {"kind": "binary", "column": "finding", "classes": {"0": "", "1": "abnormal"}},
}
STUDY: dict[str, Any] = {
    "schema": 1,
    "name": "test",
    "title": "Test",
    "sites": ["north"],
    "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
    "input": {"size": [16, 16]},
    "model": {"name": "small_cnn"},
    "training": {"rounds": 1, "epochs": 1, "loss": "bce"},
    "split": {"validation": 0.25, "test": 0.25, "min_patients": 2},
    "simulation": {"anything": 1},
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "image", "finding"])
        for number in range(12):
            Image.fromarray(rng.integers(0, 255, (20, 20)).astype(np.uint8)).save(tmp_path / f"{number}.png")
            writer.writerow([f"Doe-{number}", f"{number}.png", number % 2])
    put(tmp_path / "manifest.toml", MANIFEST)
    return tmp_path


def put(path: Path, fields: dict[str, Any]) -> None:
    path.write_text(tomli_w.dumps(fields), encoding="utf-8")


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("wardround")
    command = [str(program), "hospital", "data", "check", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.run(command, cwd=site, capture_output=True, text=True, check=False, env=environment)


def test_good_data(site: Path) -> None:
    done = run(site, "manifest.toml")
    assert done.returncode == 0, done.stderr
    assert "north: no problem found" in done.stdout
    assert "20 x 20" in done.stdout
    assert "Doe" not in done.stdout + done.stderr


def test_json_with_a_scenario_as_the_study(site: Path) -> None:
    put(site / "study.toml", STUDY)
    done = run(site, "manifest.toml", "--study", "study.toml", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["study"].startswith("sha256:")
    assert answer["report"]["classes"] == {"abnormal": [6, 6]}
    assert answer["report"]["parts"] == {"train": [6, 6], "validation": [3, 3], "test": [3, 3]}


def test_bad_data_exit_1_with_a_code(site: Path) -> None:
    (site / "4.png").write_bytes(b"")
    done = run(site, "manifest.toml")
    assert done.returncode == 1
    assert "WR-1107" in done.stderr
    assert "row 6" in done.stderr
    assert (site / "manifest.problems.csv").is_file()
    assert "Doe" not in done.stdout + done.stderr


def test_too_few_patients_for_a_training_site_only_warn_where_the_site_just_tests(site: Path) -> None:
    put(site / "study.toml", STUDY | {"split": STUDY["split"] | {"min_patients": 4}})
    refused = run(site, "manifest.toml", "--study", "study.toml")
    assert refused.returncode == 1
    assert "WR-1117" in refused.stderr
    put(site / "manifest.toml", MANIFEST | {"name": "outside"})
    warned = run(site, "manifest.toml", "--study", "study.toml")
    assert warned.returncode == 0, warned.stderr
    assert "can only test, not train" in warned.stdout


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("manifest.toml", "--colour"), 2), (("absent.toml",), 1)])
def test_wrong_usage(site: Path, arguments: tuple[str, ...], code: int) -> None:
    assert run(site, *arguments).returncode == code


def test_manual_shows_manifests_that_are_valid(root: Path, tmp_path: Path) -> None:
    from wardround.client.data.manifest import load_manifest

    text = (root / "deploy" / "docs" / "data.md").read_text(encoding="utf-8")
    examples = [block.split("```")[0] for block in text.split("```toml\n")[1:]]
    kinds = set()
    for example in examples:
        path = tmp_path / "example.toml"
        path.write_text(example, encoding="utf-8")
        kinds.add(load_manifest(path).target.kind)
        assert tomllib.loads(example)["schema"] == 1
    assert kinds == {"binary", "multiclass", "multilabel", "segmentation"}


def test_manual_names_only_errors_that_exist(root: Path) -> None:
    import re

    from wardround.common.errors import REGISTRY

    text = (root / "deploy" / "docs" / "data.md").read_text(encoding="utf-8")
    named = set(re.findall(r"WR-\d{4}", text))
    assert named
    assert named <= set(REGISTRY)
