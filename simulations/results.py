"""``results.json``: the stable schema of what a run found.

Every number of a report is here or in ``cases.csv``. An undefined value is None with a reason,
never 0.5; a row pooled over seeds or folds has them None.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from wardround.client.statement.rows import Privacy, Row


class StudySummary(Row):
    """Which study this was."""

    id: str
    name: str
    task: str
    sites: list[str]


class Metric(Row):
    """One metric of one arm's model on one site's test patients.

    Attributes:
        arm: ``federated``, ``centralised``, ``local/<site>``, ``leave-one-out/<site>`` or
            ``centralised-leave-one-out/<site>``.
        test_site: Whose test patients; ``mean``, ``worst`` and ``spread`` (standard deviation)
            summarise the training sites.
        label: The class, ``mean`` over classes, or ``all``.
        metric: ``auroc``, ``auprc``, ``sensitivity``, ``specificity``, ``f1``, ``ece``, ``dice``,
            ``hd95_mm``, ``surface_dice``, ``volume_error_ml``.
        seed: None when pooled over seeds.
        fold: None when pooled over folds, or when there are no folds.
        value: None when undefined; then ``reason`` says why.
        ci95: Patient-cluster bootstrap interval, None where not computed.
        patients: Number of patients behind the value.
    """

    arm: str
    test_site: str
    label: str
    metric: str
    seed: int | None
    fold: int | None
    value: float | None
    ci95: tuple[float, float] | None
    patients: int
    reason: str | None


class Test(Row):
    """One paired comparison of two arms on the same test patients.

    Attributes:
        difference: Mean of a minus b, in the metric's unit.
        ci95: Interval of the difference (patient-cluster bootstrap).
        p: None below the study's minimum of patients; ``reason`` says why.
        p_holm: Holm-corrected over all tests of the same kind in the run.
    """

    a: str
    b: str
    test_site: str
    label: str
    metric: str
    test: Literal["clustered_delong", "wilcoxon", "paired_t", "stratified_bootstrap"]
    patients: int
    difference: float | None
    ci95: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    reason: str | None


class MeanValidation(Row):
    """What a secure sum says of a validation.

    Attributes:
        loss: Unweighted mean over ``sites`` hospitals.
        sites: Hospitals that gave one.
    """

    loss: float
    sites: int


class Round(Row):
    """One committed round of one arm, seed and fold.

    Attributes:
        sites: Hospitals whose updates are in the sum.
        dropped: Hospitals that are not, with the reason.
        train_seconds: Of all hospitals; None in private mode, where none tells its time.
        validation_loss: By hospital, of the model after the round; empty in private mode.
        validation_metric: Likewise.
        validation_mean: In private mode, where only sums are known; else None.
        attempts: How often the secure sum was tried; 1 in open mode.
        silent: Hospitals whose updates are in the sum and that fell silent before it was opened.
        failed: Why earlier attempts ended without a sum.
    """

    arm: str
    seed: int
    fold: int | None
    round: int
    seconds: float
    train_seconds: float | None
    bytes_up: int
    bytes_down: int
    samples: int | None
    sites: list[str]
    dropped: list[str]
    train_loss: float | None
    validation_loss: dict[str, float] = Field(default_factory=dict)
    validation_metric: dict[str, float | None] = Field(default_factory=dict)
    validation_mean: MeanValidation | None = None
    attempts: int = 1
    silent: list[str] = Field(default_factory=list)
    failed: list[str] = Field(default_factory=list)


class Model(Row):
    """The reported model of the federated arm."""

    path: str
    sha256: str


class Results(Row):
    """The whole of ``results.json``.

    Attributes:
        data: Digest of each site's data.
        hospitals: The data report of each site: patients, images, parts, classes, intensities,
            geometry (``wardround.client.data.report``), and whether the study trained on it.
        seen_from: Who has found this: a simulation, which sees all hospitals; a coordinator, which sees what they
            sent; or one hospital, which sees itself.
        absent: What of a simulation's results is not here, and why.
    """

    schema_: Literal[1] = Field(alias="schema", default=1)
    study: StudySummary
    seeds: list[int]
    folds: int
    data: dict[str, str]
    hospitals: dict[str, dict[str, Any]] = Field(default_factory=dict)
    status: Literal["completed", "completed_with_losses"]
    arms: list[str]
    metrics: list[Metric]
    tests: list[Test]
    rounds: list[Round]
    privacy: list[Privacy]
    warnings: list[str]
    model: Model | None
    seen_from: Literal["simulation", "coordinator", "hospital"] = "simulation"
    absent: list[str] = Field(default_factory=list)

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)
