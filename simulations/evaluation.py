"""Score a saved model on a data set that it may never have seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pandas as pd

from wardround.client.data.manifest import load_manifest
from wardround.client.data.pool import open_site_data
from wardround.client.home import SETTINGS, RegisteredData, create_home, write_atomically
from wardround.client.train.device import choose_device
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId
from wardround.common.wire.messages import Score, Scored
from wardround.common.wire.records import pack_vector
from wardround.server.exchange import ask, expect
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.hospitals import VIRTUAL_POLICY
from wardround.simulations.job import load_model
from wardround.simulations.results import Metric, Model, Results, StudySummary
from wardround.simulations.saved_model import for_scoring
from wardround.simulations.statistics import metric_rows

if TYPE_CHECKING:
    from pathlib import Path

ARM: Final = "model"
RUN: Final = StudyRunId("evaluate")
HOSPITAL: Final = "hospital"


def evaluate_model(model: Path, manifest: Path, root: Path | None, out: Path, *, device: str) -> Results:
    """Score a saved model on all patients of a data set, through the hospital's own code.

    Args:
        model: The model folder of a finished run.
        manifest: The data set's manifest.
        root: Folder that the manifest's paths start from; None: the manifest's own.
        out: Result folder; must not exist, be empty, or hold no more than an evaluation that was refused.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        WardroundError: WR-1503 the model, WR-11xx the data, WR-1501 the folder cannot be used.
    """
    choose_device(device)
    study, layout, vector, card = load_model(model)
    site = SiteId(load_manifest(manifest).name)
    if out.exists() and not _may_be_filled(out):
        raise WardroundError("WR-1501", f"The folder {out.name} is not empty.", fix="Name another one: --out DIR")
    registered = RegisteredData(manifest=manifest.resolve(), root=None if root is None else root.resolve())
    home = create_home(out / HOSPITAL, site, [registered], device=device, threads=1, policy=VIRTUAL_POLICY)
    scored, weights = for_scoring(study, model)
    if weights is not None:
        home.keep_weights(weights)
    home.approve(scored)
    data = open_site_data([registered], study, home.path)  # refused here with the code of what is wrong
    grid = InProcessGrid({site: home.path})
    question = Score(study=scored.id, run=RUN, seed=int(card["seed"]), layout=layout.hash, part="all")
    for answer in ask(grid, "evaluate.score", {site: question}, grid.nodes, group="test", vector=pack_vector(vector)):
        expect(answer, Scored)
    cases = pd.read_csv(home.run_folder(RUN) / "cases.csv")
    cases.insert(0, "arm", ARM)
    cases.insert(1, "seed", int(card["seed"]))
    cases.insert(2, "fold", float("nan"))
    cases.insert(3, "test_site", site)
    cases.to_csv(out / "cases.csv", index=False)
    results = Results(
        study=StudySummary(id=study.id, name=study.name, task=study.task.kind, sites=list(study.sites)),
        seeds=[int(card["seed"])],
        folds=1,
        data={site: data.data[0].digest},
        status="completed",
        arms=[ARM],
        metrics=metric_rows(cases, study, [ARM], [site]),
        tests=[],
        rounds=[],
        privacy=[],
        warnings=[],
        model=Model(path=str(model), sha256=str(card["model"])),
    )
    content = json.dumps(results.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False)
    write_atomically(out / "results.json", content.encode())
    rows = [row.model_dump() for row in results.metrics]
    pd.DataFrame(rows, columns=list(Metric.model_fields)).to_csv(out / "metrics.csv", index=False)
    return results


def _may_be_filled(out: Path) -> bool:
    """Whether the folder is empty, or holds only the hospital of an evaluation that did not end."""
    if not out.is_dir():
        return False
    names = {path.name for path in out.iterdir()}
    return not names or (names == {HOSPITAL} and (out / HOSPITAL / SETTINGS).is_file())
