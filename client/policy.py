"""The hospital's own policy: what no study can overrule.

``policy.toml`` in the home folder; without one the defaults hold: secure sums only, at the strength
that a lying coordinator cannot undo, and one run of a study. Each check is one method that refuses
with WR-1712 and says what the policy allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from wardround.common.errors import WardroundError
from wardround.common.study import Name, parse_toml, validated

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import time
    from pathlib import Path

    from wardround.common.ids import StudyRunId

POLICY: Final = "policy.toml"

Hours = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")]
"""From the first time of the day to just before the second one, which may be on the next day."""
_MEND: Final = f"Mend {POLICY}, or remove it: then the strict defaults hold."


class Policy(BaseModel):
    """``policy.toml``.

    Attributes:
        schema: Version of this format.
        modes: Ways to aggregate that this site takes part in: ``private``, where only a secure sum
            leaves, and ``open``, where the coordinator sees this site's update.
        strengths: Of secure aggregation: ``active`` withstands a coordinator that lies,
            ``semi-honest`` only one that follows the protocol.
        colluding: Fewest sites that a study must assume to collude with the coordinator; None is
            ``floor((n - 1) / 3)`` for n sites.
        min_sites: Fewest sites in the cohort of a secure sum.
        runs_per_study: Study runs of one approved study that this site takes part in. A private run from which nothing
            of this site had left counts no more once another one begins. With differential privacy each
            costs the study's whole epsilon; in private mode a second run starts from the same initial
            model, and with one site fewer the two first sums would differ by that site's update; in open mode
            an approval would otherwise be one of any number of rounds. More than 1 accepts that for convenience.
        cross_validation: Whether a coordinator may run a study in folds of its choice, in which patients that the study
            calls test patients are trained on, and pay.
        score_models: Whether the coordinator of a private study may ask this site to score a model, any
            model, on its patients. The scores stay here, but whether scoring succeeds does not.
        without_privacy: Whether this site takes part in studies that promise its patients no epsilon: without a
            ``[privacy]`` table, or with epsilon ``infinite``.
        models: Names of the models that may be trained here; None: every model that is installed.
        max_epsilon: Largest epsilon that one study may promise its patients; what all studies together may cost is
            the ledger's limit. None: every promise that the limit has room for.
        min_patients: Fewest patients that this site must bring to a study: in a crowd of few each counts for more.
        approvers: How many people have to approve a study, 1 or 2.
        hours: When this site trains, local time: ``["19:00-06:30"]``; empty: at any time. Outside of these hours
            messages wait, and training is refused.
        require_witness: Whether the privacy ledger spends nothing unless a witness outside this host, the coordinator,
            has confirmed that it knows of no newer one. The agent asks; in a simulation nobody does, and nothing is
            spent there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    modes: tuple[Literal["private", "open"], ...] = Field(default=("private",), min_length=1)
    strengths: tuple[Literal["active", "semi-honest"], ...] = Field(default=("active",), min_length=1)
    colluding: Annotated[int, Field(ge=0, le=1000, strict=True)] | None = None
    min_sites: Annotated[int, Field(ge=3, le=1000, strict=True)] = 3
    runs_per_study: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 1
    cross_validation: Annotated[bool, Field(strict=True)] = False
    score_models: Annotated[bool, Field(strict=True)] = False
    without_privacy: Annotated[bool, Field(strict=True)] = False
    models: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    max_epsilon: Annotated[float, Field(gt=0, le=1000, strict=True)] | None = None
    min_patients: Annotated[int, Field(ge=1, le=10_000_000, strict=True)] = 1
    approvers: Annotated[int, Field(ge=1, le=2, strict=True)] = 1
    hours: tuple[Hours, ...] = Field(default=(), max_length=48)
    require_witness: Annotated[bool, Field(strict=True)] = False

    def as_toml(self) -> bytes:
        """The content of ``policy.toml``; :func:`read_policy` gives the same policy again."""
        return tomli_w.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True)).encode()

    def least_colluding(self, sites: int) -> int:
        """Fewest colluding sites that a cohort of ``sites`` must assume."""
        return (sites - 1) // 3 if self.colluding is None else self.colluding

    def check_mode(self, mode: str) -> None:
        """Refuse a study whose ``aggregation.mode`` this site does not allow.

        Raises:
            WardroundError: WR-1712.
        """
        _check_allowed("mode", mode, self.modes)

    def check_strength(self, strength: str) -> None:
        """Refuse secure aggregation of a strength that this site does not allow.

        Raises:
            WardroundError: WR-1712.
        """
        _check_allowed("strength", strength, self.strengths)

    def check_colluding(self, colluding: int, *, sites: int) -> None:
        """Refuse a cohort of ``sites`` that assumes fewer colluding sites than this site insists on.

        Raises:
            WardroundError: WR-1712.
        """
        least = self.least_colluding(sites)
        if colluding < least:
            raise _forbidden(f"a cohort of {sites} sites that assumes {colluding} colluding", f"{least} or more")

    def check_sites(self, sites: int) -> None:
        """Refuse a secure sum over a cohort of too few sites.

        Raises:
            WardroundError: WR-1712.
        """
        if sites < self.min_sites:
            raise _forbidden(f"a secure sum over a cohort of {sites} sites", f"{self.min_sites} or more")

    def check_scoring(self) -> None:
        """Refuse to score a model that the coordinator of a private study sends.

        Raises:
            WardroundError: WR-1712.
        """
        if not self.score_models:
            raise _forbidden("scoring models that a coordinator sends", "nothing outside the secure sum")

    def check_privacy(self, *, noisy: bool) -> None:
        """Refuse a study that promises its patients no epsilon.

        Args:
            noisy: Whether it has a ``[privacy]`` table with a finite epsilon.

        Raises:
            WardroundError: WR-1809.
        """
        if not noisy and not self.without_privacy:
            raise WardroundError("WR-1809", "This site's policy forbids studies that promise its patients no epsilon.")

    def check_model(self, name: str) -> None:
        """Refuse a study that trains a model which this site does not allow.

        Raises:
            WardroundError: WR-1712.
        """
        if self.models is not None:
            _check_allowed("model", name, self.models)

    def check_epsilon(self, epsilon: float | None) -> None:
        """Refuse a study whose promise to a patient is too weak.

        Args:
            epsilon: The largest that it promises to training or validation patients; None: it promises nothing.

        Raises:
            WardroundError: WR-1712.
        """
        if self.max_epsilon is not None and (epsilon is None or epsilon > self.max_epsilon):
            asked = "an unlimited epsilon" if epsilon is None else f"epsilon {epsilon:g}"
            raise _forbidden(f"a study of {asked}", f"{self.max_epsilon:g} or less")

    def check_patients(self, patients: int) -> None:
        """Refuse a study to which this site would bring too few patients.

        Raises:
            WardroundError: WR-1712.
        """
        if patients < self.min_patients:
            raise _forbidden(f"taking part with {patients} patients", f"{self.min_patients} or more")

    def works_at(self, moment: time) -> bool:
        """Whether this site trains at a time of the day, local time."""
        now = f"{moment:%H:%M}"
        spans = [span.split("-") for span in self.hours]
        return not spans or any(
            first <= now < last if first < last else now >= first or now < last for first, last in spans
        )

    def check_hours(self, moment: time) -> None:
        """Refuse to train at a time of the day, local time, at which this site does not.

        Raises:
            WardroundError: WR-1712.
        """
        if not self.works_at(moment):
            raise _forbidden(f"training at {moment:%H:%M}", " and ".join(self.hours))

    def check_folds(self, folds: int) -> None:
        """Refuse cross-validation of a study that promises its patients an epsilon.

        Raises:
            WardroundError: WR-1712.
        """
        if folds > 1 and not self.cross_validation:
            raise _forbidden(f"{folds} folds of a study with a promise to patients", "the study's own split")

    def check_run(self, run: StudyRunId, joined: Collection[StudyRunId]) -> None:
        """Refuse one study run too many of an approved study, in private mode or with differential privacy.

        Args:
            run: The run that this site is asked to join.
            joined: Every run of the same study, by the study's hash, that this site ever joined in
                private mode. The caller records ``run`` there, durably, before anything leaves.

        Raises:
            WardroundError: WR-1712; never for a run that is among ``joined``.
        """
        if run not in joined and len(joined) >= self.runs_per_study:
            raise _forbidden("another run of a study that it joined before", f"{self.runs_per_study} a study")


def read_policy(home: Path) -> Policy:
    """The policy of a home folder; the defaults where it has no ``policy.toml``.

    Raises:
        WardroundError: WR-1305, there is one and it cannot be read or is not valid.
    """
    try:
        text = (home / POLICY).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Policy()
    except (OSError, UnicodeDecodeError) as error:
        what = f"{POLICY} cannot be read ({type(error).__name__})."
        raise WardroundError("WR-1305", what, fix=_MEND) from error
    try:
        return validated(Policy, parse_toml(text), "WR-1305", "the policy")
    except WardroundError as error:
        raise WardroundError("WR-1305", f"In {POLICY}: {error.what}", fix=_MEND) from error


def _check_allowed(what: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise _forbidden(f"{what} {value!r}", " or ".join(allowed))


def _forbidden(what: str, allowed: str) -> WardroundError:
    return WardroundError("WR-1712", f"This site's policy forbids {what}; it allows {allowed}.")
