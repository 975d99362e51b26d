"""Run folders as a simulation writes them, drawn from random numbers instead of trained models.

Three of them: a binary classification with a site without negatives and a site never trained on,
a 3D segmentation, and a leave-one-site-out segmentation of single persons without intervals.
Everything goes through the pydantic schema, so a folder that a run could not write is not built.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score

from wardround.client.statement.rows import Privacy
from wardround.common.study import Study, build_study
from wardround.simulations.results import Metric, Model, Results, Round, StudySummary, Test

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    *("arm", "seed", "fold", "test_site", "patient", "sample", "label", "truth", "score", "predicted"),
    *("dice", "hd95_mm", "surface_dice", "volume_error_ml", "volume_ml"),
)
DIGEST = "sha256:" + "ab" * 32


@dataclass
class Draft:
    """A run folder in the making."""

    study: Study
    arms: list[str]
    unseen: list[str]
    seeds: list[int]
    folds: int = 1
    cases: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)

    @property
    def test_sites(self) -> list[str]:
        return [*self.study.sites, *self.unseen]


def classification_study(title: str = "Abnormal chest radiographs in three hospitals", **fields: Any) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "fake-cxr",
            "title": title,
            "claim": "Whether one model serves hospitals with different scanners.",
            "limits": "Label and hospital are confounded; read the results hospital by hospital.",
            "sites": ["north", "south", "lake"],
            "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
            "input": {"size": [96, 96]},
            "model": {"name": "small_cnn"},
            "training": {"rounds": 12, "epochs": 12, "loss": "bce"},
            **fields,
        }
    )


def segmentation_study(title: str = "Hippocampus in three hospitals", **fields: Any) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "fake-hippocampus",
            "title": title,
            "claim": "Federation reaches what pooling reaches.",
            "limits": "Group c has few patients.",
            "sites": ["a", "b", "c"],
            "task": {"kind": "segmentation", "labels": ["anterior", "posterior"], "dimensions": 3},
            "input": {"size": [48, 64, 48], "fit": "pad"},
            "model": {"name": "unet"},
            "training": {"rounds": 10, "epochs": 20, "loss": "dice_ce"},
            **fields,
        }
    )


def person_study(**fields: Any) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "fake-cord",
            "title": "Spinal cord of four persons, one a site",
            "claim": "How a model does at a scanner that it has never seen.",
            "limits": "One person a site: nothing can be said about populations.",
            "sites": ["site1", "site2", "site3", "site4"],
            "task": {"kind": "segmentation", "labels": ["grey matter", "white/other ~ matter"], "dimensions": 2},
            "input": {"size": [64, 64]},
            "model": {"name": "unet"},
            "training": {"rounds": 5, "epochs": 10, "loss": "dice_ce"},
            "evaluation": {"intervals": False},
            **fields,
        }
    )


def build_classification(run: Path, *, seeds: int = 1, study: Study | None = None) -> Path:
    """A binary classification: ``lake`` has no negatives, ``east`` is never trained on."""
    study = study or classification_study()
    arms = ["federated", "centralised", *(f"local/{site}" for site in study.sites)]
    draft = Draft(study, arms, ["east"], list(range(seeds)))
    sizes = {"north": 60, "south": 48, "lake": 14, "east": 26}
    for site in draft.test_sites:
        _scores(draft, site, sizes[site])
    _classification_metrics(draft)
    _compare(draft, "clustered_delong", "auroc")
    _compare_summaries(draft, "auroc")
    return _write(run, draft, histogram=(0.0, 255.0))


def keep_one_hospital(run: Path, site: str) -> Path:
    """Make a run folder what a hospital's own report is made of: its figures, of two models, and nobody else's."""
    path, arms = run / "results.json", ["federated", f"local/{site}"]
    found = json.loads(path.read_text(encoding="utf-8"))
    found |= {"arms": arms, "seen_from": "hospital"}
    found |= {name: {site: found[name][site]} for name in ("data", "hospitals")}
    found["metrics"] = [row for row in found["metrics"] if row["test_site"] == site and row["arm"] in arms]
    found["tests"] = [row for row in found["tests"] if row["test_site"] == site and row["b"] in arms]
    path.write_text(json.dumps(found), encoding="utf-8")
    cases = pd.read_csv(run / "cases.csv", dtype="str")
    cases[(cases["test_site"] == site) & cases["arm"].isin(arms)].to_csv(run / "cases.csv", index=False)
    return run


def build_segmentation(run: Path, *, study: Study | None = None) -> Path:
    """A 3D segmentation of two structures; ``c`` has too few test patients for a test."""
    study = study or segmentation_study()
    arms = ["federated", "centralised", *(f"local/{site}" for site in study.sites)]
    draft = Draft(study, arms, [], [0])
    for site, patients in zip(study.sites, (22, 18, 7), strict=True):
        _overlaps(draft, site, patients)
    _segmentation_metrics(draft)
    for test in ("wilcoxon", "paired_t"):
        _compare(draft, test, "dice")
    _compare_summaries(draft, "dice")
    _write(run, draft, histogram=(0.0, 1200.0))
    _examples(run, draft, (40, 52, 36))
    return run


def build_left_out(run: Path, *, study: Study | None = None) -> Path:
    """Leave-one-site-out only: one person a site, no intervals, no test."""
    study = study or person_study()
    kinds = ("leave-one-out", "centralised-leave-one-out", "local")
    draft = Draft(study, [f"{kind}/{site}" for kind in kinds for site in study.sites], [], [0])
    for site in study.sites:
        others = [f"local/{other}" for other in study.sites if other != site]
        _overlaps(draft, site, 1, arms=[f"{kind}/{site}" for kind in kinds[:2]] + others)
    _segmentation_metrics(draft)
    _write(run, draft, histogram=(0.0, 900.0))
    _examples(run, draft, (64, 64))
    return run


def _generator(*parts: object) -> np.random.Generator:
    return np.random.default_rng([ord(letter) for letter in "/".join(map(str, parts))])


def _skill(arm: str, site: str) -> float:
    if arm.startswith("local/"):
        return 1.5 if arm.endswith(f"/{site}") else 0.2
    return {"federated": 1.7, "centralised": 1.75}.get(arm, 1.2)


def _scores(draft: Draft, site: str, patients: int) -> None:
    rng = _generator("truth", site)
    truth = rng.random(patients) < 0.55
    truth[:2] = (True, False)
    if site == "lake":
        truth[:] = True
    images = rng.integers(1, 4, patients)
    for seed in draft.seeds:
        noise = _generator("noise", site, seed).normal(size=int(images.sum()))
        for arm in draft.arms:
            extra = _generator(arm, site, seed).normal(size=len(noise))
            logits = _skill(arm, site) * (np.repeat(truth, images) - 0.45) + 0.8 * (noise + 0.4 * extra)
            _site_scores(draft, _key(arm, seed, site), np.repeat(np.arange(patients), images), truth, logits)


def _site_scores(draft: Draft, key: dict[str, Any], patient: Any, truth: Any, logits: Any) -> None:
    for row, (who, logit) in enumerate(zip(patient, logits, strict=True)):
        score = 1 / (1 + math.exp(-logit))
        draft.cases.append(
            {
                **key,
                "patient": f"{key['test_site']}{who:04x}",
                "sample": f"row-{row + 2}",
                "label": draft.study.task.labels[0],
                "truth": int(truth[who]),
                "score": round(score, 6),
                "predicted": int(score >= 0.5),
            }
        )


def _key(arm: str, seed: int, site: str) -> dict[str, Any]:
    return {"arm": arm, "seed": seed, "fold": None, "test_site": site}


def _overlaps(draft: Draft, site: str, patients: int, arms: list[str] | None = None) -> None:
    for label in draft.study.task.labels:
        shared = _generator("dice", site, label).normal(0, 0.03, patients)
        for arm in arms or draft.arms:
            noise = _generator(arm, site, label).normal(0, 0.012, patients)
            level = 0.78 + 0.04 * _skill(arm, site) + (0.01 if label == "posterior" else 0)
            for place, dice in enumerate(np.clip(level + shared + noise, 0, 1)):
                draft.cases.append(
                    {
                        **_key(arm, 0, site),
                        "patient": f"{site}{place:04x}",
                        "sample": f"row-{place + 2}",
                        "label": label,
                        "dice": round(float(dice), 6),
                        "hd95_mm": round(6 * (1 - float(dice)) + 0.4, 4),
                        "surface_dice": round(min(1.0, float(dice) + 0.08), 6),
                        "volume_error_ml": round(0.4 * (1 - float(dice)), 5),
                        "volume_ml": 1.6,
                    }
                )


def _metric(
    draft: Draft, where: tuple[str, str, str, str], value: float | None, patients: int, reason: str | None = None
) -> None:
    """One row of a metric; ``where`` is arm, test site, label and metric."""
    arm, site, label, name = where
    width = 0.0 if value is None else 0.35 / math.sqrt(max(patients, 1)) * (1 if name != "dice" else 0.25)
    interval = None
    if value is not None and draft.study.evaluation.intervals:
        interval = (max(value - width, 0.0), min(value + width, 1.0) if value <= 1 else value + width)
    row = {"arm": arm, "test_site": site, "label": label, "metric": name, "value": value, "patients": patients}
    row |= {"fold": None, "reason": reason}
    draft.metrics.append(Metric.model_validate({**row, "seed": None, "ci95": interval}))
    if len(draft.seeds) > 1:
        draft.metrics += [Metric.model_validate({**row, "seed": seed, "ci95": None}) for seed in draft.seeds]


def _classification_metrics(draft: Draft) -> None:
    cases = pd.DataFrame(draft.cases)
    label = draft.study.task.labels[0]
    for (arm, site), rows in cases.groupby(["arm", "test_site"], sort=False):
        patients = rows.patient.nunique()
        positive, negative = rows[rows.truth == 1], rows[rows.truth == 0]
        none = None if len(negative) else "no negative images at this site"
        auroc = float(roc_auc_score(rows.truth, rows.score)) if none is None else None
        values = {
            "auroc": (auroc, none),
            "auprc": (None if none else min(1.0, (auroc or 0) + 0.02), none),
            "sensitivity": (float((positive.predicted == 1).mean()), None),
            "specificity": (float((negative.predicted == 0).mean()) if none is None else None, none),
            "f1": (float((positive.predicted == 1).mean()), None),
            "ece": (float(abs(rows.truth - rows.score).mean() / 4), None),
        }
        for name, (value, reason) in values.items():
            _metric(draft, (str(arm), str(site), label, name), value, patients, reason)
    _summaries(draft, "auroc", label)


def _segmentation_metrics(draft: Draft) -> None:
    cases = pd.DataFrame(draft.cases)
    for (arm, site), rows in cases.groupby(["arm", "test_site"], sort=False):
        for name in ("dice", "hd95_mm", "surface_dice", "volume_error_ml"):
            for label, part in [*rows.groupby("label", sort=False), ("mean", rows)]:
                _metric(
                    draft, (str(arm), str(site), str(label), name), float(part[name].mean()), rows.patient.nunique()
                )
    if draft.arms[0] == "federated":
        _summaries(draft, "dice", "mean")


def _summaries(draft: Draft, name: str, label: str) -> None:
    for arm in draft.arms:
        rows = [row for row in draft.metrics if (row.arm, row.metric, row.label, row.seed) == (arm, name, label, None)]
        rows = [row for row in rows if row.test_site in draft.study.sites and row.value is not None]
        values = [row.value for row in rows if row.value is not None]
        patients = sum(row.patients for row in rows)
        reason = None if len(rows) == len(draft.study.sites) else "without lake, where it is undefined"
        for site, value in (("mean", np.mean(values)), ("worst", min(values)), ("spread", np.std(values, ddof=1))):
            _metric(draft, (arm, site, label, name), float(value), patients, reason)


def _compare(draft: Draft, test: str, name: str) -> None:
    cases = pd.DataFrame(draft.cases)
    pairs = [("federated", arm, site) for arm in draft.arms[1:] for site in draft.test_sites]
    found = [_difference(cases, *pair, name) for pair in pairs]
    order = sorted((row for row in found if row["p"] is not None), key=lambda row: row["p"])
    highest = 0.0
    for place, row in enumerate(order):
        highest = max(highest, min(1.0, row["p"] * (len(order) - place)))
        row["p_holm"] = highest
    label = draft.study.task.labels[0] if name == "auroc" else "mean"
    draft.tests += [Test.model_validate({**row, "label": label, "metric": name, "test": test}) for row in found]


def _compare_summaries(draft: Draft, name: str) -> None:
    """The difference of the means, and of the worst, over sites: an interval and no p-value."""
    label = draft.study.task.labels[0] if name == "auroc" else "mean"
    for arm in draft.arms[1:]:
        for summary in ("mean", "worst"):
            rows = {
                row.arm: row
                for row in draft.metrics
                if (row.test_site, row.metric, row.label, row.seed) == (summary, name, label, None)
            }
            gap = (rows["federated"].value or 0.0) - (rows[arm].value or 0.0)
            draft.tests.append(
                Test(
                    a="federated",
                    b=arm,
                    test_site=summary,
                    label=label,
                    metric=name,
                    test="stratified_bootstrap",
                    patients=rows[arm].patients,
                    difference=gap,
                    ci95=(gap - 0.02, gap + 0.02),
                    p=None,
                    p_holm=None,
                    reason="interval only",
                )
            )


def _difference(cases: pd.DataFrame, a: str, b: str, site: str, name: str) -> dict[str, Any]:
    here = cases[cases.test_site == site]
    patients = here.patient.nunique()
    empty = {
        "a": a,
        "b": b,
        "test_site": site,
        "patients": patients,
        "difference": None,
        "ci95": None,
        "p": None,
        "p_holm": None,
    }
    value = "dice" if name == "dice" else "score"
    wide = {arm: here[here.arm == arm].groupby("patient")[value].mean() for arm in (a, b)}
    if name == "auroc":
        if here.truth.nunique() < 2:
            return {**empty, "reason": "no negative images at this site"}
        rows = {arm: here[here.arm == arm] for arm in (a, b)}
        difference = float(np.subtract(*(roc_auc_score(rows[arm].truth, rows[arm].score) for arm in (a, b))))
        error = 0.3 / math.sqrt(patients) * 0.6
    else:
        gap = (wide[a] - wide[b]).to_numpy()
        difference, error = float(gap.mean()), float(gap.std(ddof=1) / math.sqrt(len(gap)))
    p = float(2 * stats.norm.sf(abs(difference) / error))
    interval = (difference - 1.96 * error, difference + 1.96 * error)
    if patients < 10:
        return {**empty, "difference": difference, "ci95": interval, "reason": "fewer than 10 patients"}
    return {**empty, "difference": difference, "ci95": interval, "p": p, "reason": None}


def _rounds(draft: Draft) -> list[Round]:
    rounds = []
    for arm in draft.arms:
        sites = [site for site in draft.study.sites if _takes_part(arm, site)]
        for seed in draft.seeds:
            for number in range(1, draft.study.training.rounds + 1):
                rng = _generator(arm, seed, number)
                left = math.exp(-number / 4)
                rounds.append(
                    Round(
                        arm=arm,
                        seed=seed,
                        fold=None,
                        round=number,
                        seconds=2.0 + float(rng.random()) / 10,
                        train_seconds=1.9,
                        bytes_up=400_000,
                        bytes_down=400_000,
                        samples=320,
                        sites=sites,
                        dropped=[],
                        train_loss=0.3 + 0.4 * left + float(rng.normal(0, 0.01)),
                        validation_loss={s: 0.4 + 0.3 * left + float(rng.normal(0, 0.03)) for s in draft.study.sites},
                        validation_metric={
                            s: None if s == "lake" else 0.85 - 0.3 * left + float(rng.normal(0, 0.01))
                            for s in draft.study.sites
                        },
                    )
                )
    return rounds


def _takes_part(arm: str, site: str) -> bool:
    if arm.startswith("local/"):
        return arm == f"local/{site}"
    return arm != f"leave-one-out/{site}"


def _data(draft: Draft, histogram: tuple[float, float]) -> dict[str, Any]:
    report = {}
    for place, site in enumerate(draft.test_sites):
        rng = _generator("data", site)
        patients = int(rng.integers(30, 160))
        trained = site in draft.study.sites
        parts = {"train": 0.6, "validation": 0.15, "test": 0.25} if trained else {"test": 1.0}
        edges, raw_edges = np.linspace(-4, 4, 41), np.linspace(*histogram, 41)
        centre = histogram[1] * (0.35 + 0.1 * place)
        raw, normalised = rng.normal(centre, histogram[1] / 9, 20_000), rng.normal(0.02 * place, 1, 20_000)
        report[site] = {
            "patients": patients,
            "images": 2 * patients,
            "trained": trained,
            "parts": {name: [round(patients * part), round(2 * patients * part)] for name, part in parts.items()},
            "classes": {label: [patients // 2, patients] for label in draft.study.task.labels},
            "histogram": {
                "edges": edges.tolist(),
                "raw_edges": raw_edges.tolist(),
                "raw": np.histogram(raw, raw_edges)[0].tolist(),
                "normalised": np.histogram(normalised, edges)[0].tolist(),
            },
            "spacing_mm": [[0.7, 1.0, 1.2]] * draft.study.task.dimensions,
            "shape": [[40, 52, 64]] * draft.study.task.dimensions,
            "warnings": [f"no images without {draft.study.task.labels[0]}"] if site == "lake" else [],
            "digest": DIGEST,
        }
    return report


def _write(run: Path, draft: Draft, histogram: tuple[float, float]) -> Path:
    run.mkdir(parents=True)
    rounds, data = _rounds(draft), _data(draft, histogram)
    results = Results(
        study=StudySummary(
            id=draft.study.id, name=draft.study.name, task=draft.study.task.kind, sites=list(draft.study.sites)
        ),
        seeds=draft.seeds,
        folds=draft.folds,
        data={site: entry["digest"] for site, entry in data.items()},
        hospitals=data,
        status="completed",
        arms=draft.arms,
        metrics=draft.metrics,
        tests=draft.tests,
        rounds=rounds,
        privacy=[Privacy(site=site, unit="patient", epsilon=None, delta=None) for site in draft.study.sites],
        warnings=[f"{site}: {text}" for site, entry in data.items() for text in entry["warnings"]],
        model=Model(path="model/", sha256="cd" * 32) if "federated" in draft.arms else None,
    )
    (run / "study.json").write_bytes(draft.study.canonical())
    (run / "results.json").write_text(results.model_dump_json(by_alias=True), encoding="utf-8")
    settings = {
        "versions": {"wardround": "0.1.0", "torch": "2.13.0"},
        "device": "cpu",
        "threads": 1,
        "seeds": draft.seeds,
    }
    (run / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (run / "rounds.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rounds), encoding="utf-8")
    pd.DataFrame(draft.cases, columns=COLUMNS).to_csv(run / "cases.csv", index=False)
    return run


def _examples(run: Path, draft: Draft, shape: tuple[int, ...]) -> None:
    (run / "examples").mkdir()
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    for site in draft.study.sites:
        for rank, error in (("worst", 0.3), ("median", 0.12), ("best", 0.05)):
            rng = _generator(site, rank)
            distance = np.sqrt((grid**2).sum(axis=0))
            image = np.exp(-((distance / 0.7) ** 4)) + 0.15 * rng.normal(size=shape)
            shifted = grid.copy()
            shifted[0] += error * 0.5
            masks = [_two_parts(g, len(draft.study.task.labels)) for g in (grid, shifted)]
            np.savez_compressed(
                run / "examples" / f"{site}-{rank}.npz",
                image=image.astype(np.float32),
                truth=masks[0],
                prediction=masks[1],
                dice=1 - error,
                site=site,
                patient=f"{site}0001",
            )


def _two_parts(grid: np.ndarray, labels: int) -> np.ndarray:
    inside = np.sqrt((grid**2).sum(axis=0)) < 0.4
    mask = inside.astype(np.uint8)
    if labels > 1:
        mask[inside & (grid[1] > 0)] = 2
    return mask
