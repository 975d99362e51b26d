"""The files of a deployed report's folder: as a simulation's run folder has them, as far as they are known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from wardround.client.home import write_atomically
from wardround.simulations.privacy.write import write_statement
from wardround.simulations.results import Metric
from wardround.simulations.run_folder import surroundings

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study
    from wardround.simulations.results import Results


def settings_of(seen_from: str, *, seed: int, device: str | None = None) -> dict[str, Any]:
    """What ``settings.json`` says.

    Args:
        seen_from: ``coordinator`` or ``hospital``.
        seed: Of the study run.
        device: What models were trained and scored on; None: on nothing here.
    """
    found = {**surroundings(), "backend": "deployed", "seen_from": seen_from, "seeds": [seed]}
    return found | ({} if device is None else {"device": device})


def write_results(out: Path, study: Study, results: Results, settings: dict[str, Any]) -> None:
    """Write study, settings, results, metrics, rounds and, where there is a promise, the privacy statement."""
    write_atomically(out / "study.json", study.canonical())
    write_atomically(out / "settings.json", json.dumps(settings, indent=1).encode())
    content = results.model_dump(mode="json", by_alias=True)
    write_atomically(out / "results.json", json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode())
    rows = [row.model_dump() for row in results.metrics]
    pd.DataFrame(rows, columns=list(Metric.model_fields)).to_csv(out / "metrics.csv", index=False)
    rounds = "".join(row.model_dump_json() + "\n" for row in results.rounds)
    write_atomically(out / "rounds.jsonl", rounds.encode())
    if study.privacy is not None:
        write_statement(out, study, results.privacy)
