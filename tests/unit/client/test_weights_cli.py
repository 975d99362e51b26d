"""``wardround hospital weights``: a person puts a study's file of weights into the home, and nobody copies by hand."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.proposals import Consortium, open_study
from safetensors.numpy import save
from typer.testing import CliRunner

from wardround.common.errors import WardroundError
from wardround.simulations.cli import app

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = save({"weight": np.ones(3, dtype=np.float32)})
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def lungs(tmp_path: Path) -> Consortium:
    return Consortium.around(tmp_path / "home")


def weights(lungs: Consortium, *words: str) -> Any:
    found = CliRunner().invoke(app, ["hospital", "weights", *words, "--home", str(lungs.home.path), "--json"])
    if isinstance(found.exception, WardroundError):
        return found.exception.code
    return json.loads(found.stdout)


def test_a_file_is_added_listed_and_removed_by_its_hash(lungs: Consortium, tmp_path: Path) -> None:
    study = open_study(model={"name": "small_cnn", "init": DIGEST, "init_data": "public"})
    lungs.propose(study)
    file = tmp_path / "any name.safetensors"
    file.write_bytes(CONTENT)
    assert weights(lungs, "list") == []
    row = {"sha256": DIGEST, "bytes": len(CONTENT), "studies": [{"study": study.id, "name": study.name}]}
    assert weights(lungs, "add", str(file)) == row
    assert lungs.home.weights(DIGEST) == CONTENT
    assert weights(lungs, "list") == [row]
    assert [weights(lungs, "remove", text) for text in (DIGEST[:7], "0" * 64)] == ["WR-1208", "WR-1208"]
    assert weights(lungs, "list") == [row]
    assert weights(lungs, "remove", DIGEST[:8])["sha256"] == DIGEST
    assert weights(lungs, "list") == []
    with pytest.raises(WardroundError, match="WR-1208"):
        lungs.home.weights(DIGEST)


def test_what_is_no_file_of_weights_is_not_kept(lungs: Consortium, tmp_path: Path) -> None:
    file = tmp_path / "words.safetensors"
    file.write_bytes(b"no weights")
    assert weights(lungs, "add", str(file)) == "WR-1208"
    assert weights(lungs, "add", str(tmp_path / "absent")) == "WR-1506"
    assert weights(lungs, "list") == []
    file.write_bytes(CONTENT)
    assert weights(lungs, "add", str(file))["sha256"] == DIGEST
