"""The attacks of ``wardround attack secagg``, from the suite itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.simulations.attacks import (
    cases_cohort,
    cases_confirmation,
    cases_input,
    cases_keys,
    cases_opening,
    cases_round,
    cases_session,
)
from wardround.simulations.attacks.case import SITES

if TYPE_CHECKING:
    from wardround.simulations.attacks.case import Case

INTRODUCTION: Final = """\
# Attacks

```bash
wardround attack secagg
wardround attack secagg --case overlapping-lists --sites 5 --json
```

`attack` attacks wardround's own protections, on your machine, with virtual hospitals. Attacks on a promise of
differential privacy have [a page of their own](leakage.md). What is attacked here is the code that
hospitals run: the site of the secure sum with real keys, a real roster, real shares and masks. The attacker is a
coordinator that lies, together with as many hospitals as the study assumes to collude. It is after the update of one
hospital, the victim.

Every attack is carried out three times, with 3, 5, 10 and 50 hospitals where it makes sense:

1. **with every rule in place.** A hospital has to refuse it with the code below, and what the coordinator knows by then
   must not contain the update;
2. **as a control, without the rules that refuse it.** Then it has to succeed, in most cases with the victim's update,
   exactly: this shows that the attack is a real one and that the rule is what stops it;
3. **with one of these rules at a time put back.** Then it has to fail again: the control leaves out no rule needlessly.

Rules are the methods of `SiteChecks` (`common/secagg/site_checks.py`); a name with a dot is a rule that stands in that
module. Hospitals cannot switch any of them off.

The hospitals of the suite train one linear unit a weight, on values that the encoding represents exactly. What an
attack recovers is compared with the update without any tolerance.

## Transcripts

Each attack leaves two transcripts (`--out`), one of the refusal and one of the control: every message that was sent,
the seed of each hospital's randomness, and every answer. They replay: fresh hospitals give the same answers again, byte
for byte. The command checks this; so does

```python
from pathlib import Path
from wardround.simulations.attacks.transcript import replay

print(replay(Path("runs/attack-1/overlapping-lists-5.jsonl")).same)
```

The exit code is 0 if every attack is refused, every control succeeds and every transcript replays, else 1.

## What this does not show

That no other attack exists. The argument that the protocol holds is in `common/secagg/README.md`, with what it does not
protect from: what a sum itself says, models that differ from round to round, hospitals that collude beyond k, a stolen
identity key. `colluders-at-the-bound` shows the limit: with one colluding hospital more than the study assumes, the
update is recovered although every rule is in place. Nor does the suite attack the network, the operating system or
hardware, or wait for the clock."""

ROOMS: Final = {
    "Whose session keys they are": cases_keys.CASES,
    "Who is in the cohort, and how many must agree": cases_cohort.CASES,
    "Sessions that begin anew, or go on": cases_session.CASES,
    "Which model, round and attempt": cases_round.CASES,
    "Over which sites a sum is opened": cases_opening.CASES,
    "Who has agreed to it": cases_confirmation.CASES,
    "What training ends in": cases_input.CASES,
}


def attack_page() -> str:
    """A Markdown page on every attack."""
    parts = [INTRODUCTION]
    for title, cases in ROOMS.items():
        rows = ["| attack | what is tried | refused | rules that stop it |", "|---|---|---|---|"]
        parts += [f"## {title}", "\n".join([*rows, *(_row(case) for case in cases)])]
    parts += ["## Where an attack makes no sense", "\n".join(_left_out())]
    return "\n\n".join(parts) + "\n"


def _row(case: Case) -> str:
    codes = [case.code, *(f"{code} at n = {n}" for n, code in case.codes.items())]
    refused = ", ".join(codes) if case.code else f"harmless: {case.harmless}"
    rules = ", ".join(f"`{rule}`" for rule in case.checks) or "k: one more site colludes in the control"
    more = "".join(f"; at n = {n} also {', '.join(f'`{rule}`' for rule in also)}" for n, also in case.more.items())
    return f"| `{case.name}` | {case.words} | {refused} | {rules}{more} |"


def _left_out() -> list[str]:
    found = []
    for cases in ROOMS.values():
        for case in cases:
            for why in dict.fromkeys(case.senseless.values()):
                sizes = ", ".join(str(n) for n in SITES if case.senseless.get(n) == why)
                found.append(f"* `{case.name}` at n = {sizes}: {why}")
    return found
