"""Carries out one attack at one size: refused, its control, and that the control leaves out no rule needlessly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from wardround.common.errors import WardroundError
from wardround.simulations.attacks.coordinator import NotEnoughSharesError
from wardround.simulations.attacks.results import CaseResult
from wardround.simulations.attacks.transcript import replay, write_transcript

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.attacks.case import Case
    from wardround.simulations.attacks.lab import Lab


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one script.

    Attributes:
        code: The refusal; None where no hospital refused.
        words: Its sentence.
        gain: What the attacker got, in words; empty for nothing.
    """

    code: str | None
    words: str
    gain: str


def carry_out(case: Case, sites: int, folder: Path) -> CaseResult:
    """Attack with every rule in place, then without the case's rules, and replay both transcripts."""
    off = case.rules(sites)
    files = folder / f"{case.name}-{sites}.jsonl", folder / f"{case.name}-{sites}-control.jsonl"
    refused = run_script(case, case.lab(sites), files[0], sites)
    control = run_script(case, case.weakened(sites, off), files[1], sites)
    return CaseResult(
        case=case.name,
        n=sites,
        refused=(refused.code or "") == case.codes.get(sites, case.code) and not refused.gain,
        reason=refused.code,
        control_succeeds=control.code is None and bool(control.gain) and not needless(case, sites),
        checks=off,
        words=refused.words or case.harmless,
        gain=control.gain,
        replays=all(replay(file).same for file in files),
        transcript=str(files[0]),
        control_transcript=str(files[1]),
    )


def needless(case: Case, sites: int) -> tuple[str, ...]:
    """Rules of the control without which the attack would be refused all the same."""
    off = case.rules(sites)
    less = {rule: tuple(other for other in off if other != rule) for rule in off}
    return tuple(rule for rule, left in less.items() if _outcome(case, case.weakened(sites, left)).gain)


def run_script(case: Case, lab: Lab, file: Path, sites: int) -> Outcome:
    """Run a script and write its transcript."""
    found = _outcome(case, lab)
    header = {"attack": "secagg", "case": case.name, "n": sites, "off": list(lab.off), "setting": asdict(lab.setting)}
    write_transcript(file, lab.stage, header, asdict(found))
    return found


def _outcome(case: Case, lab: Lab) -> Outcome:
    try:
        gain = case.script(lab)
    except WardroundError as refusal:
        return Outcome(refusal.code, refusal.what, _known_all_the_same(lab))
    except NotEnoughSharesError:
        return Outcome(None, "Too few shares were opened.", "")
    return Outcome(None, "", gain.words if gain.reached else "")


def _known_all_the_same(lab: Lab) -> str:
    """The victim's update if the coordinator has it although it was refused."""
    for view in lab.views:
        for position in view.session.positions(set(view.session.context.cohort) & {lab.victim}):
            if position in view.masked and np.array_equal(view.best_guess(position), lab.truth([lab.victim])):
                return "the victim's update, in spite of the refusal"
    return ""
