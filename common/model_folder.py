"""A saved model as bytes: safetensors, the layout, the study and a card. No pickle, no code."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from wardround.common.errors import WardroundError
from wardround.common.study import Study
from wardround.common.vector import Layout, vector_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from wardround.common.vector import Vector

MODEL_FILES: Final = ("model.safetensors", "layout.json", "study.json", "card.json")


def encode_model(
    study: Study,
    layout: Layout,
    vector: Vector,
    card: Mapping[str, Any],
    frozen: Mapping[str, NDArray[np.float32]] | None = None,
) -> dict[str, bytes]:
    """The files of a model folder; ``model.safetensors`` is complete, whatever of it was trained.

    Args:
        study: The study that the model answers.
        layout: Layout of ``vector``.
        vector: The model, shape ``[P]``.
        card: What people should know about the model; must hold ``model``, the vector's hash,
            ``study``, the study's, and ``seed``. It gets ``weights``, the SHA-256 of ``model.safetensors``, which
            another study can name as its ``model.init``.
        frozen: What is not in ``layout``, by name.
    """
    described = {
        "hash": layout.hash,
        "entries": [{"name": entry.name, "shape": list(entry.shape)} for entry in layout.entries],
    }
    tensors = {name: np.ascontiguousarray(view) for name, view in layout.views(vector).items()}
    content = save(tensors | dict(frozen or {}))
    card = dict(card) | {"weights": hashlib.sha256(content).hexdigest()}
    return {
        "model.safetensors": content,
        "layout.json": json.dumps(described, indent=1).encode(),
        "study.json": study.canonical(),
        "card.json": json.dumps(card, indent=1, ensure_ascii=False).encode(),
    }


def decode_model(files: Mapping[str, bytes]) -> tuple[Study, Layout, Vector, dict[str, Any]]:
    """Read the files of a model folder back and check that they belong together.

    Returns:
        Study, layout and values of what was trained, card. What was frozen is in ``model.safetensors`` beside it.

    Raises:
        WardroundError: WR-1503, a file is missing or damaged, or hashes do not match.
    """
    missing = [name for name in MODEL_FILES if name not in files]
    if missing:
        raise WardroundError("WR-1503", f"The model folder lacks {', '.join(missing)}.")
    try:
        study = Study.model_validate_json(files["study.json"])
        described, card = (dict(json.loads(files[name])) for name in ("layout.json", "card.json"))
        stored = load(files["model.safetensors"])
        arrays = {entry["name"]: stored[entry["name"]] for entry in described["entries"]}
        layout = Layout.of(arrays)
        vector = layout.flatten(arrays)
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise WardroundError("WR-1503", f"The model folder is damaged ({type(error).__name__}).") from error
    if layout.hash != described.get("hash") or vector_hash(vector) != card.get("model"):
        raise WardroundError("WR-1503", "The weights do not match the hash that the model card records.")
    if study.model.freezes and hashlib.sha256(files["model.safetensors"]).hexdigest() != card.get("weights"):
        raise WardroundError("WR-1503", "The frozen weights do not match the hash that the model card records.")
    if study.id != card.get("study") or not _is_seed(card.get("seed")):
        raise WardroundError("WR-1503", "The study or the seed is not the one that the model card records.")
    return study, layout, vector, card


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53
