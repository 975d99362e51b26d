"""What a finished study run leaves: the reported model and its history.

The model folder holds ``model.safetensors``, ``layout.json``, ``study.json`` and ``card.json``; it
is everything that is needed to score the model elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from wardround.common.model_folder import encode_model
from wardround.common.vector import vector_hash

if TYPE_CHECKING:
    from wardround.server.plan import RunPlan
    from wardround.server.rounds.state import Chosen, History
    from wardround.server.start import Start


class Finished(Protocol):
    """A study run that came to its end."""

    @property
    def history(self) -> History:
        """Everything that was committed."""

    def chosen(self) -> Chosen:
        """The model that the study's selection rule reports."""


def write_outcome(plan: RunPlan, start: Start, run: Finished) -> None:
    """Write ``model/`` and ``history.json`` into the plan's folder."""
    chosen = run.chosen()
    folder = plan.out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    card = {
        "study": plan.study.id,
        "name": plan.study.name,
        "task": plan.study.task.model_dump(mode="json"),
        "sites": list(plan.study.sites),
        "run": plan.run,
        "seed": plan.seed,
        "fold": plan.fold if plan.folds > 1 else None,
        "rule": chosen.rule,
        "round": chosen.round,
        "model": vector_hash(chosen.model),
        "intended_use": "Research only. Not a medical device; not validated for any clinical use.",
    }
    for name, content in encode_model(plan.study, start.layout, chosen.model, card, start.frozen).items():
        (folder / name).write_bytes(content)
    history = {
        "rounds": [asdict(record) for record in run.history.rounds],
        "validations": [asdict(validation) for validation in run.history.validations],
    }
    (plan.out / "history.json").write_text(json.dumps(history, indent=1))
