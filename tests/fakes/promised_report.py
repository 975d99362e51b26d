"""A run folder of a study with a promise, as a run would have written it, with attacks on the promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.run_folder import build_classification, classification_study

from wardround.client.statement.caution import promise_warnings
from wardround.client.statement.cost import epsilon_of, filter_epsilon
from wardround.client.statement.leaving import not_sent
from wardround.client.statement.rows import Privacy
from wardround.simulations.attacks.leakage.results import FILE, LeakageCase, LeakageReport
from wardround.simulations.privacy.write import write_statement
from wardround.simulations.results import MeanValidation, Results

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.ids import SiteId
    from wardround.common.study import Study


def promised_study(trust: str = "distributed", **promise: Any) -> Study:
    """12 rounds at north, south and lake."""
    return classification_study(
        privacy={"trust": trust, "epsilon": 8.0, "patients": 300, "rate": 0.5} | promise,
        selection={"rule": "ema"},
        aggregation={"mode": "private" if trust == "distributed" else "open", "weights": "equal"},
    )


def build_promised(run: Path, study: Study | None = None, *, seeds: int = 1, attacked: bool = True) -> Path:
    """The run folder; its report is not written."""
    study = study or promised_study()
    build_classification(run, study=study, seeds=seeds)
    path = run / "results.json"
    results = Results.model_validate_json(path.read_bytes())
    rows = [_row(study, site, seeds) for site in study.site_ids]
    paid = study.promise.validation is not None
    nothing = {"train_loss": None, "train_seconds": None, "samples": None, "validation_loss": {}}
    rounds = [
        row.model_copy(
            update=nothing
            | {"validation_metric": {}, "validation_mean": MeanValidation(loss=0.5, sites=3) if paid else None}
        )
        for row in results.rounds
    ]
    warnings = [*results.warnings, *promise_warnings(study, rows)]
    changed = results.model_copy(update={"privacy": rows, "rounds": rounds, "warnings": warnings})
    path.write_text(changed.model_dump_json(by_alias=True), encoding="utf-8")
    write_statement(run, study, rows)
    if attacked:
        (run / FILE).write_text(leakage_of(study).model_dump_json(), encoding="utf-8")
    return run


def leakage_of(study: Study, *, passed: bool = True) -> LeakageReport:
    """Two attacks, of which the second gets too far unless ``passed``."""
    cases = tuple(
        LeakageCase(
            case=name,
            n=1000,
            refused=refused,
            reason=f"recognised {count} of 1000",
            epsilon=bound,
            any_epsilon=bound / 2,
            control_succeeds=True,
            control="recognised 998 of 1000",
            transcript=f"{name}.json",
        )
        for name, refused, count, bound in (("canaries", True, 61, 2.6), ("membership", passed, 17, 0.4))
    )
    return LeakageReport(
        study=study.name,
        trust=study.promise.trust,
        claimed_epsilon=study.promise.promised,
        delta=study.promise.delta,
        empirical_epsilon=2.6,
        any_epsilon=1.3,
        judged_by=8.0,
        cases=cases,
        folder="attack",
        passed=passed,
    )


def _row(study: Study, site: SiteId, seeds: int) -> Privacy:
    promise, paid = study.promise, study.promise.validation
    return Privacy(
        site=site,
        unit="patient",
        epsilon=promise.promised,
        delta=promise.delta,
        relation="add/remove",
        trust=promise.trust,
        rate=promise.rate,
        clip=promise.clip,
        sensitivity=promise.clip * (1 + 2**-9),
        noise_multiplier=promise.step.multiplier,
        steps=12,
        runs=seeds,
        spent_steps=12,
        spent_rounds=12,
        spent_epsilon=epsilon_of(study, 12),
        filter_epsilon=filter_epsilon(study, 12),
        all_runs_epsilon=epsilon_of(study, 12 * seeds),
        validation_epsilon=None if paid is None else paid.epsilon,
        validation_spent_epsilon=None if paid is None else 0.75 * paid.epsilon,
        not_sent=list(not_sent(study)),
    )
