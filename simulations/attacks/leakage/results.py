"""What ``wardround attack leakage`` prints, and what a run folder keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "leakage"

FILE: Final = "leakage.json"
"""In the folder of a run whose promise was attacked."""


class LeakageCase(BaseModel):
    """One attack, on the study and on the same study without noise.

    Attributes:
        case: Its name.
        n: Canaries, patients or victims on which it was tried.
        refused: Whether it got no further than the claim allows.
        reason: How far it got, in words.
        epsilon: Lower bound on epsilon for sampled Gaussian noise; 0: the attack shows nothing.
        any_epsilon: Lower bound on epsilon that holds for any mechanism.
        control_succeeds: Whether the same attack shows without noise what the claim excludes; of a weak one, whether it
            does better than chance.
        control: How far it got there, in words.
        transcript: The scores and reconstructions' figures, of both.
        weak: An attack on published models, which may find nothing in a study that generalises well, noise or not: its
            control is reported and does not decide whether the suite passes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    n: int
    refused: bool
    reason: str
    epsilon: float
    any_epsilon: float
    control_succeeds: bool
    control: str
    transcript: str
    weak: bool = False

    @property
    def holds(self) -> bool:
        """Whether the promise stood against this attack, and the attack is a real one."""
        return self.refused and (self.control_succeeds or self.weak)


class LeakageReport(BaseModel):
    """The whole suite.

    Attributes:
        attack: ``leakage``.
        study: Name of the study whose promise was attacked.
        trust: Its trust model.
        claimed_epsilon: What it promises; None: nothing (``infinite``).
        delta: Probability with which that may be exceeded.
        empirical_epsilon: Largest lower bound that an attack shows at that delta, with confidence; for sampled Gaussian
            noise of the study's rate and steps.
        any_epsilon: The same for any mechanism.
        judged_by: Epsilon by which the attacks were judged: the claim, or 8 where there is none.
        cases: What came of each attack.
        folder: Where the transcripts are.
        passed: Whether something is promised, every attack stayed within it, and every control succeeds but those
            of weak attacks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    attack: Literal["leakage"] = NAME
    study: str
    trust: str
    claimed_epsilon: float | None
    delta: float
    empirical_epsilon: float
    any_epsilon: float
    judged_by: float
    cases: tuple[LeakageCase, ...]
    folder: str
    passed: bool

    @property
    def holds(self) -> bool:
        """As of every attack suite."""
        return self.passed


def read_leakage(run: Path) -> LeakageReport | None:
    """What attacks on a run's promise found; None: it was never attacked.

    Raises:
        WardroundError: WR-1502, the file is damaged.
    """
    path = run / FILE
    if not path.exists():
        return None
    try:
        return LeakageReport.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise WardroundError("WR-1502", f"{FILE} of {run.name} is damaged.") from error
