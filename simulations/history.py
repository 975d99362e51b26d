"""The rounds of a study run, from the ``history.json`` that its coordinator wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wardround.simulations.results import Round
from wardround.simulations.warned import of_round

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def rounds_of(folder: Path, arm: str, seed: int, fold: int | None) -> list[Round]:
    """The rounds of a study run.

    Args:
        folder: The run's, which holds ``history.json``.
        arm: What the run is called in the results.
        seed: Of the run.
        fold: Of the run; None without folds.
    """
    history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    validations = {item["round"]: item for item in history["validations"]}
    rows = []
    for record in history["rounds"]:
        after = validations.get(record["round"], {"loss": {}, "metric": {}, "mean": None})
        rows.append(
            Round(
                arm=arm,
                seed=seed,
                fold=fold,
                round=record["round"],
                seconds=record["seconds"],
                train_seconds=record["train_seconds"],
                bytes_up=record["bytes_up"],
                bytes_down=record["bytes_down"],
                samples=record["samples"],
                sites=record["sites"],
                dropped=_with_reasons(record["dropped"]),
                train_loss=record["train_loss"],
                validation_loss=after["loss"],
                validation_metric=after["metric"],
                validation_mean=after["mean"],
                attempts=record["attempts"],
                silent=_with_reasons(record["silent"]),
                failed=record["failed"],
            )
        )
    return rows


def _with_reasons(sites: Mapping[str, str]) -> list[str]:
    return [f"{site}: {reason}" for site, reason in sites.items()]


def losses(rounds: Sequence[Round]) -> list[str]:
    """What people should know of rounds that did not go smoothly."""
    return [of_round(row.arm, row.seed, row.round, found) for row in rounds for found in _trouble(row)]


def _trouble(row: Round) -> list[str]:
    failed = [f"tried again. {words}" for words in row.failed]
    left_out = [f"left out {'; '.join(row.dropped)}"] if row.dropped else []
    silent = [f"in the sum, but silent afterwards: {'; '.join(row.silent)}"] if row.silent else []
    return [*failed, *left_out, *silent]
