"""What an attack suite prints."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class CaseResult(BaseModel):
    """One attack at one size.

    Attributes:
        case: Its name.
        n: Sites of the cohort.
        refused: Whether every rule together stopped it, with the refusal that is expected.
        reason: That refusal's code; None if there was none: the attack was let run, and ``words`` say why it comes
            to nothing.
        control_succeeds: Whether it succeeds without ``checks``, and without fewer of them does not.
        checks: The rules that the control does without.
        words: What the hospital said.
        gain: What the control got.
        replays: Whether both transcripts give the same answers again.
        transcript: Where the refused attack is written down.
        control_transcript: Where the control is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    n: int
    refused: bool
    reason: str | None
    control_succeeds: bool
    checks: tuple[str, ...]
    words: str
    gain: str
    replays: bool
    transcript: str
    control_transcript: str

    @property
    def holds(self) -> bool:
        """Whether the protection is as it is said to be."""
        return self.refused and self.control_succeeds and self.replays


class AttackReport(BaseModel):
    """A whole suite.

    Attributes:
        attack: Its name.
        cases: What came of each attack.
        folder: Where the transcripts are.
        senseless: Attacks that make no sense at a size, as ``case at n = …: why``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    attack: str
    cases: tuple[CaseResult, ...]
    folder: str
    senseless: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether everything is as it is said to be."""
        return all(case.holds for case in self.cases)
