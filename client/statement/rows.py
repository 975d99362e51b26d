"""What patients were promised and what it cost them, as rows of ``privacy.json`` and ``results.json``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Row(BaseModel):
    """A part of the results: frozen, unknown fields refused, NaN and infinity refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NotSent(Row):
    """Something that a study with a promise does not tell anybody.

    Attributes:
        what: What stays at the hospitals.
        why: Why it does.
    """

    what: str
    why: str


class Privacy(Row):
    """What a site's patients were promised, and what the study runs of the arm ``federated`` cost them.

    Without a promise everything but ``site`` and ``unit`` is None or empty. Add/remove neighbours; all epsilons are at
    ``delta``.

    Attributes:
        epsilon: The promise for one study run; None: there is none, or it is ``infinite``.
        trust: ``local`` or ``distributed``, as ``study.privacy.trust``.
        rate: Probability with which a patient is drawn in a step.
        clip: Largest norm of a patient's gradient, C.
        sensitivity: What one patient can change in a step, in norm: C with the slack of float arithmetic.
        noise_multiplier: Standard deviation of a step's noise over ``sensitivity``; 0: no noise.
        steps: Steps of a study run, T.
        runs: Study runs of the arm, one for each seed and fold.
        spent_steps: Steps that the site's ledger has for the run that cost most.
        spent_rounds: Rounds of that run which began.
        spent_epsilon: What these steps cost, by privacy loss distributions; None where there is no noise.
        filter_epsilon: What they cost by the rule that the ledger enforces, a Renyi filter; never less.
        all_runs_epsilon: What all ``runs`` together cost: who publishes them all has spent this.
        validation_epsilon: What validation patients, who are others, are promised for the losses that leave; None:
            nothing is paid for, so none was sent.
        validation_spent_epsilon: What their part of the ledger says of the run that cost most.
        not_sent: What was not paid for, and so not sent.
    """

    site: str
    unit: Literal["patient"]
    epsilon: float | None
    delta: float | None
    relation: Literal["add/remove"] | None = None
    trust: Literal["local", "distributed"] | None = None
    rate: float | None = None
    clip: float | None = None
    sensitivity: float | None = None
    noise_multiplier: float | None = None
    steps: int | None = None
    runs: int | None = None
    spent_steps: int | None = None
    spent_rounds: int | None = None
    spent_epsilon: float | None = None
    filter_epsilon: float | None = None
    all_runs_epsilon: float | None = None
    validation_epsilon: float | None = None
    validation_spent_epsilon: float | None = None
    not_sent: list[NotSent] = Field(default_factory=list)
