"""A study in plain words, for the person who decides about it: what ``wardround hospital approve`` prints."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from wardround.client.egress import EGRESS
from wardround.client.ledger.cost import in_words
from wardround.client.ledger.showing import bound_in_words
from wardround.client.plain import one_line, plain
from wardround.client.statement.question import count, share
from wardround.client.studies.leaving import BESIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.client.home import RegisteredData
    from wardround.client.studies.budget import Budget
    from wardround.client.studies.checks import Check
    from wardround.client.studies.leaving import Leaving
    from wardround.client.studies.overview import Overview

_WIDEST: Final = 100
"""Columns; longer lines are hard to read."""

_WHEN: Final = {
    "decision": "now",
    "start": "at the start",
    "round": "every round",
    "end": "at the end",
    BESIDE: "with others",
}
_MAY_REFUSE: Final = {"ledger": "ledger", "runs_per_study": "policy"}
"""Rules that an approved study may still be refused by, and what refuses it then."""

_TASKS: Final = {
    "segmentation": "outlines in every image",
    "binary": "says of every image whether it shows",
    "multiclass": "says of every image which one of these it shows:",
    "multilabel": "says of every image which of these it shows:",
}


def print_overview(found: Overview) -> None:
    """Print everything that a person has to know before they decide; 80 columns suffice."""
    console = Console()
    console = Console(width=min(console.width, _WIDEST))
    console.print(Text(one_line(found.study.title), style="bold"))
    console.print(Text(f"{found.study.name}, {found.study.id}", style="dim"), soft_wrap=True)
    for title, paragraphs in _sections(found):
        _heading(console, title)
        for words in paragraphs:
            _paragraph(console, words)
    if found.messages:
        _heading(console, "What leaves this hospital")
        for words in _leaving(found):
            _paragraph(console, words)
        console.print(_message_table(found.messages))
    _heading(console, "With whom")
    console.print(_partner_table(found))
    _paragraph(console, _roster(found))
    _heading(console, "What was checked here")
    console.print(_check_table(found.checks))
    _print_outcome(console, found)


def _sections(found: Overview) -> Iterator[tuple[str, list[str]]]:
    yield "Who asks, and what for", list(_asked(found))
    yield "What is trained, and how long it takes", list(_trained(found))
    yield "On which images of yours", list(_images(found))
    if found.statement is not None:
        warnings = [f"Warning: {words}" for words in found.statement.warnings]
        yield "What your patients are promised", [*found.statement.summary, *warnings]
    yield "What it costs your patients: the privacy ledger", list(_ledger(found))


def _asked(found: Overview) -> Iterator[str]:
    asked, study = found.proposal, found.study
    if asked.withdrawn:
        yield f"Warning: {asked.by} has withdrawn this study on {_day(asked.at)}; nothing is left to decide."
        if asked.why:
            yield f"In their words: “{one_line(asked.why)}”"
        return
    yield f"{asked.by}, for the consortium {asked.consortium}, on {_day(asked.at)}."
    if asked.why:
        yield f"In their words: “{one_line(asked.why)}”"
    if study.claim:
        yield f"The study sets out to show: “{one_line(study.claim)}”"
    if study.limits:
        yield f"What it cannot show, as its author says: “{one_line(study.limits)}”"


def _trained(found: Overview) -> Iterator[str]:
    study = found.study
    task = _TASKS[study.task.target or study.task.kind]
    size = "" if found.size is None else f" with {found.size.values:,} numbers that are trained"
    kind = "volumes" if study.task.dimensions == 3 else "images"
    begins = "It begins from random numbers."
    if study.model.init is not None:
        begins = f"It begins from a file of weights (SHA-256 {study.model.init})."
    yield (
        f"A model (the network {study.model.name}{size}) that {task} {', '.join(study.task.labels)}. It works on "
        f"{kind} of {' x '.join(map(str, study.input.size))}. {begins}"
    )
    yield f"Training takes {count(study.training.rounds, 'round')}. {_duration(found)}"


def _duration(found: Overview) -> str:
    work = found.work
    if work is None or work.seconds is None or work.images_a_round is None:
        return "How long that takes here is not known."
    return (
        f"In each, this computer works through about {work.images_a_round:,.0f} images; all rounds together keep it "
        f"busy for {_time(work.seconds)}, and waiting for the others comes on top."
    )


def _images(found: Overview) -> Iterator[str]:
    for item in found.data:
        yield _data_set(item)
    split = found.study.split
    yield (
        f"Of the patients, {share(1 - split.validation - split.test)} are for training, {share(split.validation)} for "
        f"validation and {share(split.test)} for tests. The images stay in this hospital, and so does every table of "
        "single patients."
    )


def _data_set(item: RegisteredData) -> str:
    size = ""
    if item.patients is not None and item.images is not None:
        size = f": {count(item.patients, 'patient')} with {count(item.images, 'image')} when it was registered"
    return f"Data set {item.name or 'without a name'}{size} ({item.manifest})."


def _leaving(found: Overview) -> Iterator[str]:
    size = found.size
    if size is None:
        return
    most, rounds = size.up, found.study.training.rounds
    yield (
        f"In a round that succeeds at once {_bytes(most.round)} leave at most; in the whole study, "
        f"{count(rounds, 'round')} long, {_bytes(most.study)}. The coordinator may ask again, as after a crash: an "
        f"update leaves {most.times} times at most for the same round, which comes to {_bytes(most.tried_again)} if "
        "every round is gone through so often. That counts your decision, all that the agent says beside the messages, "
        "and errors in their place: a code, and no word about patients or files. Whatever else is asked for again "
        f"leaves each time, {_bytes(most.other)} at most, and so does what is lost with a connection. "
        f"{_bytes(size.down)} of model arrive in a round."
    )
    yield (
        f"Whatever studies there are, the agent says for its own sake: {_bytes(most.connection)} whenever it connects "
        f"(on a quiet day once), {_bytes(most.report)} at most whenever its state changes, {_bytes(most.renewal)} at "
        f"most when its certificate is renewed. Every one of these messages has its line in {EGRESS}. Besides, the "
        "coordinator sees that this hospital takes part, when it is connected and when it answers; heartbeats hold "
        "nothing else."
    )


def _message_table(messages: tuple[Leaving, ...]) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("when", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    for message in messages:
        parts = [*message.fields, *([message.vector] if message.vector else [])]
        what = Text("; ".join(parts)).append(f" [{message.kind}]", style="dim")
        table.add_row(_WHEN[message.when], what, _bytes(message.size) if message.size else "–")
    return table


def _ledger(found: Overview) -> Iterator[str]:
    budget = found.budget
    if budget is None:
        yield "The study promises nothing, and this hospital keeps no ledger: no limit on epsilon was ever set."
        return
    limit = budget.accounts.limit
    if limit is not None and math.isinf(limit.limit.number):
        yield f"There is no limit on epsilon: {limit.admin} decided so on {limit.at[:10]}."
    elif limit is not None:
        yield (
            f"The limit for each patient over all studies is {bound_in_words(limit.limit)}, set by {limit.admin} on "
            f"{limit.at[:10]}."
        )
    yield from _spent(budget)


def _spent(budget: Budget) -> Iterator[str]:
    known = budget.accounts
    if math.isinf(budget.study):
        takes = "This study has no noise: it takes an infinite epsilon of every patient."
    else:
        paid = budget.validation
        validation = "" if paid is None else f", and {_epsilon(paid)} of a validation patient, who is another"
        takes = (
            f"This study takes {_epsilon(budget.study)} of a training patient who was in none before{validation}: "
            "counted so that it holds over several studies, it is more than the promise of one."
        )
    yield (
        f"So far {_epsilon(known.spent)} is spent on the patient who bears most, {_epsilon(known.committed)} with what "
        f"running studies have reserved. {takes}"
    )
    yield budget.words if budget.certain and budget.refusal is None else f"Warning: {budget.words}"


def _partner_table(found: Overview) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("hospital", overflow="fold")
    table.add_column("fingerprint of its key", overflow="fold")
    for partner in found.partners:
        name = partner.site if not partner.label else f"{partner.label} ({partner.site})"
        table.add_row(
            Text(one_line(f"{name}, here" if partner.here else name)),
            partner.fingerprint or "NOT in the roster accepted here",
        )
    return table


def _roster(found: Overview) -> str:
    version, fingerprint, by = found.roster
    return f"As in version {version} of the roster, which {by} accepted; its fingerprint is {fingerprint}."


def _check_table(checks: tuple[Check, ...]) -> Padding:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        if check.error is None and check.certain:
            table.add_row(Text("ok", style="green"), Text(plain(check.words)))
        elif check.error is None:
            table.add_row(Text("?", style="bold yellow"), Text(plain(check.words)))
        else:
            words = f"{plain(check.words)}. {check.error.what} {check.error.fix} [{check.error.code}]"
            table.add_row(Text("NO", style="bold red"), Text(words))
    return Padding(table, (0, 0, 0, 2))


def _print_outcome(console: Console, found: Overview) -> None:
    console.print()
    if found.proposal.withdrawn:
        console.print(Text("It cannot be approved: it was withdrawn.", style="bold red"))
        return
    wrong = sum(check.error is not None for check in found.checks)
    if wrong:
        reasons = count(wrong, "reason")
        console.print(Text(f"It cannot be approved here, for {reasons}: see NO above.", style="bold red"))
        return
    people = "two people" if found.approvers > 1 else "a person"
    refusing = [
        word for rule, word in _MAY_REFUSE.items() if any(c.rule == rule and not c.certain for c in found.checks)
    ]
    said = (
        "Nothing speaks against it"
        if found.certain
        else f"It may be approved, and the {' or the '.join(refusing)} may refuse it: see ? above"
    )
    console.print(Text(f"{said}; it takes {people} to approve it.", style="bold"))
    digits = found.study.id.removeprefix("sha256:")[:12]
    _paragraph(
        console,
        f"An approval can be withdrawn at any time (wardround hospital reject {digits} --by NAME); what has left by "
        "then is not undone.",
    )


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold cyan"))


def _paragraph(console: Console, words: str) -> None:
    style = "yellow" if words.startswith("Warning: ") else ""
    console.print(Padding(Text(plain(words), style=style), (0, 0, 0, 2)))


def _epsilon(value: float) -> str:
    return f"epsilon {in_words(value, '.3g')}"


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"


def _time(seconds: float) -> str:
    for unit, scale in (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= scale:
            return f"about {count(round(seconds / scale), unit)}"
    return "less than a minute"


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
