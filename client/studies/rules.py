"""The hospital's policy for people: every rule with what it means and whether it is a default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wardround.client.policy import POLICY, Policy

if TYPE_CHECKING:
    from wardround.client.home import Home

WORDS: Final = {
    "modes": "how updates may be summed: private hides this hospital's, open shows it to the coordinator",
    "strengths": "secure sums: active withstands a coordinator that lies, semi-honest does not",
    "colluding": "hospitals that may work with the coordinator without harm; not set: a third, rounded down",
    "min_sites": "fewest hospitals in a secure sum",
    "runs_per_study": "how often a study may run, not counting runs that sent nothing; each costs its whole epsilon",
    "cross_validation": "whether the coordinator may choose who is a test patient (folds)",
    "score_models": "whether the coordinator of a private study may have models scored here",
    "without_privacy": "whether studies may run that promise patients no epsilon",
    "require_witness": "whether budget is spent only when somebody outside has confirmed the ledger",
    "models": "models that may be trained; not set: every one that is installed",
    "max_epsilon": "the most that one study may promise any patient; not set: what the ledger's limit has room for",
    "min_patients": "fewest patients that this hospital brings to a study",
    "approvers": "people who have to approve a study",
    "hours": "when this hospital trains, local time; empty: at any time",
}
"""Each field of the policy, in words."""


def rules(home: Home) -> list[dict[str, Any]]:
    """Every rule: its name, value, default and words.

    Raises:
        WardroundError: WR-1305, ``policy.toml`` is damaged.
    """
    given, usual = (policy.model_dump(mode="json") for policy in (home.policy, Policy()))
    return [
        {"rule": name, "value": given[name], "default": usual[name], "words": words} for name, words in WORDS.items()
    ]


def print_rules(home: Home) -> None:
    """The policy as a table."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE)
    table.add_column("rule", no_wrap=True)
    table.add_column("here", overflow="fold")
    table.add_column("what it means", overflow="fold")
    for rule in rules(home):
        changed = rule["value"] != rule["default"]
        value = Text(_value(rule["value"]), style="bold" if changed else "")
        table.add_row(rule["rule"], value, Text(rule["words"]))
    console = Console()
    console.print(table)
    path = home.path / POLICY
    where = f"From {path}" if path.exists() else f"All defaults; to change one, write {path}"
    console.print(f"{where}. No study can overrule it, and a change holds at once.", markup=False, soft_wrap=True)


def _value(value: Any) -> str:  # noqa: ANN401 - whatever TOML holds
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "any"
    return str(value)
