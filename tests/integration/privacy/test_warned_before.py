"""What a reader of a promise must not overlook is said before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomli_w
from fakes.scenarios import chest_fields
from typer.testing import CliRunner

from wardround.simulations.cli import app

if TYPE_CHECKING:
    from pathlib import Path


def said(tmp_path: Path, epsilon: float | str, name: str) -> str:
    """What a simulation tells while it runs; its results go elsewhere."""
    fields = chest_fields()
    fields["training"] |= {"rounds": 1, "augmentation": []}
    fields["aggregation"], fields["selection"] = {"weights": "equal"}, {"rule": "last"}
    fields["simulation"] |= {"arms": ["federated"], "unseen": [], "sites": fields["simulation"]["sites"][:3]}
    fields["privacy"] = {"trust": "local", "epsilon": epsilon, "patients": 30, "rate": 1.0}
    file = tmp_path / f"{name}.toml"
    file.write_text(tomli_w.dumps(fields), encoding="utf-8")
    words = ["simulate", str(file), "--out", str(tmp_path / name), "--device", "cpu"]
    found = CliRunner().invoke(app, words, catch_exceptions=False)
    assert found.exit_code == 0
    return found.stderr


def test_warnings_come_before_training(tmp_path: Path) -> None:
    weak, infinite = said(tmp_path, 10.0, "ten"), said(tmp_path, "infinite", "infinite")
    assert "Warning: privacy.epsilon is infinite" in infinite
    assert infinite.index("Warning: privacy.epsilon") < infinite.index("Training")
    assert "is infinite" not in weak
