"""The coordinator's report of a study run: what it knows, in the form of a simulation's report.

It knows the model, the rounds, who was left out and why, and what was promised. Figures of test patients it does not
know: every hospital has a report of its own (:mod:`wardround.simulations.deployed.own`).
"""

from __future__ import annotations

import shutil
from dataclasses import fields
from typing import TYPE_CHECKING, Final

import pandas as pd

from wardround.client.evaluate.cases import CaseRow
from wardround.client.home import write_atomically
from wardround.client.statement.caution import promise_warnings
from wardround.common.errors import WardroundError
from wardround.simulations.deployed.writing import settings_of, write_results
from wardround.simulations.history import losses, rounds_of
from wardround.simulations.job import load_model
from wardround.simulations.privacy.spent import row_without_ledger
from wardround.simulations.report.write import write_report
from wardround.simulations.results import Model, Results, StudySummary
from wardround.simulations.statistics.places import POOLED, places, row

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study
    from wardround.simulations.results import Metric

ARM: Final = "federated"
KEPT: Final = "kept at the hospital, in its own report"

ABSENT: Final = (
    "Figures of test patients, cases and images: each hospital keeps its own (wardround hospital report).",
    "The model of each hospital alone, and comparisons with it: they are in the hospitals' reports.",
    "How many patients and images the hospitals have, and digests of their data: no hospital tells.",
    "Training with all data in one place, and federations without one hospital: nobody has the data for them.",
)
SPENT: Final = "What the promise cost the patients: each hospital's ledger has it."

COLUMNS: Final = ("arm", "seed", "fold", "test_site", *(field.name for field in fields(CaseRow)))


def write_central_report(run: Path, out: Path) -> Results:
    """Write the report of a run from the coordinator's folder of it.

    Args:
        run: The run's folder: ``model/`` and ``history.json``.
        out: The folder to write; new or empty.

    Raises:
        WardroundError: WR-1501, the folder is not empty; WR-1503, the run has no model yet, or it is damaged.
    """
    study, _, _, card = load_model(run / "model")
    if out.exists() and any(out.iterdir()):
        raise WardroundError("WR-1501", f"The folder {out.name} is not empty.", fix="Name another one: --out DIR")
    out.mkdir(parents=True, exist_ok=True)
    rounds = rounds_of(run, ARM, int(card["seed"]), None)
    privacy = [row_without_ledger(study, site) for site in study.site_ids]
    results = Results(
        study=StudySummary(id=study.id, name=study.name, task=study.task.kind, sites=list(study.sites)),
        seeds=[int(card["seed"])],
        folds=1,
        data={},
        status="completed_with_losses" if any(one.dropped for one in rounds) else "completed",
        arms=[ARM],
        metrics=_kept(study),
        tests=[],
        rounds=rounds,
        privacy=privacy,
        warnings=[*promise_warnings(study, privacy), *losses(rounds)],
        model=Model(path="model/", sha256=str(card["model"])),
        seen_from="coordinator",
        absent=[*ABSENT, *([SPENT] if study.privacy is not None else [])],
    )
    shutil.copytree(run / "model", out / "model")
    write_atomically(out / "cases.csv", pd.DataFrame(columns=COLUMNS).to_csv(index=False).encode())
    write_results(out, study, results, settings_of("coordinator", seed=int(card["seed"])))
    write_report(out)
    return results


def _kept(study: Study) -> list[Metric]:
    """Every figure of every hospital, as one that is not here."""
    return [row(place, POOLED, None, 0, reason=KEPT) for site in study.sites for place in places(ARM, site, study)]
