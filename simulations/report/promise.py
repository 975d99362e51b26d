"""The section on privacy: what patients were promised, what it cost, what was not sent, what attacks found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.client.statement.overspent import BECAUSE, dearest
from wardround.simulations.report.sourced import DASH, Number, Quote, fixed, joined, pointer, whole
from wardround.simulations.report.tables import Cell, Table, text

if TYPE_CHECKING:
    from wardround.client.statement.rows import Privacy
    from wardround.client.statement.statement import Statement
    from wardround.simulations.attacks.leakage.results import LeakageReport
    from wardround.simulations.report.load import RunFolder
    from wardround.simulations.report.lookup import Lookup
    from wardround.simulations.report.sourced import Sentence

_NO_PRIVACY: Final = "This run used no differential privacy; epsilon is unlimited."
_ON_ONE_MACHINE: Final = (
    " In a simulation all images lie on one machine anyway; what is simulated is who trains on what."
)
_NOISY: Final = "The noise is in every number here; a model without it may do better."
_WITHOUT_NOISE: Final = "The model of this hospital alone was trained without noise, because it stays here."
_SIMULATED: Final = (
    "Here all hospitals are virtual and lie on one machine: this report reads counts and scores where they lie. "
    "Between real hospitals they would stay."
)
_STATEMENT: Final = "privacy.json"
_LEAKAGE: Final = "leakage.json"


@dataclass(frozen=True, slots=True)
class Told:
    """A question of the privacy statement with its answer."""

    question: str
    answer: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of the privacy statement."""

    title: str
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class PrivacySection:
    """What the section shows.

    Attributes:
        sentences: The main points.
        spent: Promised and spent, by hospital; None without a promise.
        not_sent: What no hospital told, and why.
        losses: Of these, what would show how training went.
        attacks: What attacks on the promise found; empty where none was tried.
        chapters: The whole statement; empty without a promise.
    """

    sentences: tuple[Sentence, ...]
    spent: Table | None
    not_sent: tuple[Sentence, ...]
    losses: tuple[Sentence, ...]
    attacks: tuple[Sentence, ...]
    chapters: tuple[Chapter, ...]


def privacy_section(run: RunFolder) -> PrivacySection:
    """The section of a run."""
    lookup = run.lookup
    return PrivacySection(
        sentences=(*_secure_sum(lookup), *(_told(lookup) if run.statement is None else _summary(run))),
        spent=_spent_table(lookup),
        not_sent=_not_sent(lookup),
        losses=_not_sent(lookup, "loss"),
        attacks=() if run.leakage is None else _attacks(run.leakage),
        chapters=() if run.statement is None else _chapters(run.statement),
    )


def promise_point(lookup: Lookup) -> tuple[Sentence, ...]:
    """For the answer: under which promise all models of the run were trained; nothing without one."""
    rows = [(place, row) for place, row in enumerate(lookup.results.privacy) if row.trust is not None]
    if not rows:
        return ()
    place, row = rows[0]
    if row.epsilon is None:
        return (("Nothing: gradients were clipped, but no noise was added. Epsilon is unlimited.",),)
    alone = lookup.results.seen_from == "hospital"
    return (
        (
            "The federated model" if alone else "Every model of this run",
            " was trained under patient-level differential privacy: epsilon ",
            *_held(lookup, place),
            " at delta ",
            _quote(row.delta, place, "delta"),
            f" for each patient. {_WITHOUT_NOISE if alone else _NOISY}",
        ),
    )


def _held(lookup: Lookup, place: int) -> Sentence:
    """The epsilon that holds: the promise of row ``place``, or the largest that was spent, if that is more."""
    rows = lookup.results.privacy
    promised = _number(rows[place].epsilon or 0.0, place, "epsilon")
    row = dearest(rows)
    if row is None:
        return (promised,)
    spent = _number(row.spent_epsilon or 0.0, rows.index(row), "spent_epsilon")
    return (spent, f" at {row.site}, more than the ", promised, f" promised, {BECAUSE},")


def same_steps(lookup: Lookup) -> Sentence:
    """What equal work means under a promise; empty without one."""
    row = lookup.results.privacy[0] if lookup.results.privacy else None
    if row is None or row.steps is None or row.rate is None:
        return ()
    return (
        "Every model took the same number of steps, ",
        whole(row.steps, pointer("privacy", 0, "steps")),
        ", and in each of them drew every patient that it may train on with the same probability, ",
        _quote(row.rate, 0, "rate"),
        ". How many images that were is not told.",
    )


def _not_sent(lookup: Lookup, word: str = "") -> tuple[Sentence, ...]:
    """What no hospital of a study with a promise told, and why; only what has ``word`` in its name."""
    rows = lookup.results.privacy
    entries = rows[0].not_sent if rows else []
    return tuple(
        (
            Quote(entry.what, pointer("privacy", 0, "not_sent", place, "what")),
            " (not sent: ",
            Quote(entry.why, pointer("privacy", 0, "not_sent", place, "why")),
            ").",
        )
        for place, entry in enumerate(entries)
        if word in entry.what
    )


def _summary(run: RunFolder) -> tuple[Sentence, ...]:
    words = run.statement.summary if run.statement is not None else []
    points = [(Quote(said, pointer("summary", place, file=_STATEMENT)),) for place, said in enumerate(words)]
    return (*points, *(((_SIMULATED,),) if run.results.seen_from == "simulation" else ()))


def _chapters(statement: Statement) -> tuple[Chapter, ...]:
    return tuple(
        Chapter(
            chapter.title,
            tuple(
                Told(
                    answer.question,
                    tuple(
                        (Quote(words, pointer("chapters", i, "answers", j, "answer", k, file=_STATEMENT)),)
                        for k, words in enumerate(answer.answer)
                    ),
                )
                for j, answer in enumerate(chapter.answers)
            ),
        )
        for i, chapter in enumerate(statement.chapters)
    )


def _secure_sum(lookup: Lookup) -> tuple[Sentence, ...]:
    """What the coordinator of a private federation saw; nothing in open mode."""
    study = lookup.study
    if not study.private:
        return ()
    secure = ("aggregation", "secure")
    strength = f"The federation was private ({study.secure.strength}): "
    seen = "the coordinator saw sums over hospitals, never one hospital's update, even with "
    return (
        (
            strength + seen,
            whole(study.colluding, pointer(*secure, "colluding", file="study.json")),
            " hospitals on its side. Updates travelled as integers of ",
            whole(study.ring_bits, pointer(*secure, "ring_bits", file="study.json")),
            " bits.",
        ),
    )


def _told(lookup: Lookup) -> tuple[Sentence, ...]:
    """What the run promises each site's patients, where it has no statement."""
    rows = lookup.results.privacy
    bounded = [(place, row) for place, row in enumerate(rows) if row.epsilon is not None]
    if not bounded:
        return ((_NO_PRIVACY + (_ON_ONE_MACHINE if lookup.results.seen_from == "simulation" else ""),),)
    sentences: list[Sentence] = []
    for place, row in bounded:
        epsilon = _number(row.epsilon or 0.0, place, "epsilon")
        delta: Sentence = () if row.delta is None else (" at delta ", _quote(row.delta, place, "delta"))
        sentences.append((f"{row.site}: patient-level differential privacy with epsilon ", epsilon, *delta, "."))
    rest = [row.site for row in rows if row.epsilon is None]
    if rest:
        sentences.append((f"{', '.join(rest)}: no differential privacy; epsilon is unlimited.",))
    return tuple(sentences)


def _spent_table(lookup: Lookup) -> Table | None:
    """Promised and spent; None without a promise."""
    rows = [(place, row) for place, row in enumerate(lookup.results.privacy) if row.trust is not None]
    if not rows:
        return None
    several = any((row.runs or 0) > 1 for _, row in rows)
    validated = any(row.validation_epsilon is not None for _, row in rows)
    header: tuple[str, ...] = (
        "Hospital",
        "Promised epsilon",
        "Delta",
        "Spent",
        "Of a ledger's limit",
        "Steps",
        "Rounds",
    )
    header += ("All runs",) if several else ()
    header += ("Validation patients",) if validated else ()
    return Table(
        "What one study run of the federation promised each patient of a hospital, and what the hospital's ledger says "
        "that it cost. Spent: by privacy loss distributions, the tight number; of a ledger's limit: by the rule that "
        "ledgers enforce, which stays valid over several studies. All at the same delta."
        + (" All runs: what a hospital had spent that ran, and published, every seed and fold." if several else ""),
        header,
        tuple(_spent_row(place, row)[: len(header) - validated] + _validated(place, row) for place, row in rows),
    )


def _validated(place: int, row: Privacy) -> tuple[Cell, ...]:
    """What validation patients spent, of what; nothing where they pay for nothing."""
    if row.validation_epsilon is None or row.validation_spent_epsilon is None:
        return ()
    promised: Sentence = ("of ", _number(row.validation_epsilon, place, "validation_epsilon"))
    return (Cell((_number(row.validation_spent_epsilon, place, "validation_spent_epsilon"),), promised),)


def _spent_row(place: int, row: Privacy) -> tuple[Cell, ...]:
    """Every cell but that of validation; the last is that of all runs."""
    unlimited = text("unlimited", "none")
    promised = unlimited if row.epsilon is None else Cell((_number(row.epsilon, place, "epsilon"),))
    spent = [_epsilon(getattr(row, name), place, name, row) for name in ("spent_epsilon", "filter_epsilon")]
    counts = [_count(getattr(row, name), place, name) for name in ("spent_steps", "spent_rounds")]
    return (
        text(row.site, "arm"),
        promised,
        Cell((_quote(row.delta, place, "delta"),)),
        *spent,
        *counts,
        _epsilon(row.all_runs_epsilon, place, "all_runs_epsilon", row),
    )


def _epsilon(value: float | None, place: int, field: str, row: Privacy) -> Cell:
    if value is None:
        return text(DASH if row.spent_steps is None else "unlimited", "none")
    return Cell((_number(value, place, field),))


def _count(value: int | None, place: int, field: str) -> Cell:
    return text(DASH, "none") if value is None else Cell((whole(value, pointer("privacy", place, field)),))


def _attacks(found: LeakageReport) -> tuple[Sentence, ...]:
    """The attacks' lower bound beside the claim, then every attack."""
    shown = fixed(found.empirical_epsilon, pointer("empirical_epsilon", file=_LEAKAGE), places=2)
    claim: Sentence = (
        ("nothing is promised",)
        if found.claimed_epsilon is None
        else (
            "the promise is ",
            fixed(found.claimed_epsilon, pointer("claimed_epsilon", file=_LEAKAGE), places=2),
        )
    )
    verdict = "The attacks passed." if found.passed else "The attacks did not pass: see below."
    first: Sentence = ("Attacks on this study show an epsilon of at least ", shown, "; ", *claim, f". {verdict}")
    return (first, *(_attack(found, place) for place in range(len(found.cases))))


def _attack(found: LeakageReport, place: int) -> Sentence:
    case = found.cases[place]
    where = pointer("cases", place, file=_LEAKAGE)
    outcome = "within the promise" if case.refused else "beyond the promise"
    control = "succeeds" if case.control_succeeds else "fails, so that the attack shows nothing"
    parts: list[Sentence] = [
        (Quote(case.case, f"{where}/case"), f": {outcome} (", Quote(case.reason, f"{where}/reason"), ")"),
        (f"without noise it {control} (", Quote(case.control, f"{where}/control"), ")"),
    ]
    return (*joined(parts, "; "), ".")


def _number(value: float, place: int, field: str) -> Number:
    return fixed(value, pointer("privacy", place, field), places=2)


def _quote(value: float | None, place: int, field: str) -> Quote:
    """A setting word for word, as JSON has it."""
    return Quote(str(value), pointer("privacy", place, field))
