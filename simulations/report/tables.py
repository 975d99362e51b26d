"""The tables about models: every model at every hospital, every metric, every comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from wardround.simulations.report.lookup import INTERVAL_TEST
from wardround.simulations.report.names import (
    FEDERATED,
    LOCAL,
    LOWER_IS_BETTER,
    POOLED_WITHOUT,
    TESTS,
    WITHOUT,
    arm_name,
    metric_name,
    site_name,
)
from wardround.simulations.report.outcome import Outcome, judge
from wardround.simulations.report.sourced import DASH, Quote, decimals, fixed, interval, p_value, plain, pointer, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.simulations.report.lookup import FoundMetric, Lookup
    from wardround.simulations.report.sourced import Sentence
    from wardround.simulations.results import Test


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its main line, small lines below it, and the CSS classes that set it apart.

    Attributes:
        main: The value.
        range: Its interval or what else belongs to the value; never broken over lines.
        note: Why a value is missing, or what to know about it.
        classes: CSS classes.
    """

    main: Sentence
    range: Sentence = ()
    note: Sentence = ()
    classes: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the report; the first cell of a row is its heading.

    Attributes:
        caption: What the table holds and how to read it.
        header: Column headings.
        rows: Cells, as many as headings.
        texts: Columns of text, set flush left; all others hold numbers, flush right.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: tuple[int, ...] = (0,)


_SHOWS: Final = {
    Outcome.BETTER: "better",
    Outcome.WORSE: "worse",
    Outcome.NOT_SHOWN: "no difference shown",
    Outcome.NOT_TESTED: "not tested",
    Outcome.UNDEFINED: "undefined",
}


_NO_VALUE: Final = "no value"
_BECAUSE: Final = "no value:"


def text(words: str, classes: str = "") -> Cell:
    """A cell of text without numbers of the run."""
    return Cell((words,), classes=classes)


def metric_cell(found: FoundMetric | None, classes: str = "") -> Cell:
    """A value with its interval below it; an undefined one with its reason."""
    if found is None:
        return text(DASH, "none")
    row = found.row
    note: Sentence = (Quote(row.reason, f"{found.source}/reason"),) if row.reason else ()
    if row.value is None:
        return Cell((_BECAUSE if note else _NO_VALUE,), note=note, classes=f"none {classes}".strip())
    places = decimals(row.metric)
    bounds = interval(row.ci95, f"{found.source}/ci95", places=places) if row.ci95 is not None else ()
    return Cell((fixed(row.value, f"{found.source}/value", places=places),), bounds, note, classes)


def headline_table(lookup: Lookup) -> Table:
    """The main metric of every model on every site's test patients."""
    sites = lookup.test_sites
    summaries = [name for name in ("mean", "worst") if lookup.has_federated]
    rows = []
    notes: dict[str, None] = {}
    told: set[tuple[int, str]] = set()
    for line in lookup.lines():
        cells = [
            metric_cell(lookup.line_metric(line, site), _foreign(lookup, line.arms.get(site), site)) for site in sites
        ]
        arm = next(iter(line.arms.values()), "")
        cells = [_once(cell, column, told) for column, cell in enumerate(cells)]
        over_sites = [metric_cell(lookup.metric(arm, name) if line.summarised else None) for name in summaries]
        notes |= dict.fromkeys(plain(cell.note) for cell in over_sites if cell.note)
        cells += [replace(cell, note=()) for cell in over_sites]
        rows.append((text(line.name, "arm main" if arm == FEDERATED else "arm"), *cells))
    remarks = f" ({'; '.join(notes)})" if notes else ""
    means = f" Mean and worst are taken over the training hospitals{remarks}." if summaries else ""
    return Table(
        f"{metric_name(lookup.main_metric)} of each model (row) on the test patients of each hospital (column), with "
        f"95% intervals where the study gives them. Hatched: the model was trained without that hospital.{means}",
        ("Model", *sites, *summaries),
        tuple(rows),
    )


def _once(cell: Cell, column: int, told: set[tuple[int, str]]) -> Cell:
    """The cell without its note when the column has said the same already."""
    key = (column, plain(cell.note))
    if key in told:
        return replace(cell, main=(_NO_VALUE,) if cell.main == (_BECAUSE,) else cell.main, note=())
    told.add(key)
    return cell


def _foreign(lookup: Lookup, arm: str | None, site: str) -> str:
    """Marks the models that never saw an image of the site."""
    if arm is None:
        return ""
    other = arm.startswith(LOCAL) and arm != LOCAL + site
    unseen = site not in lookup.training_sites
    return "foreign" if other or unseen or arm in (WITHOUT + site, POOLED_WITHOUT + site) else ""


def detail_table(lookup: Lookup) -> Table:
    """Every metric and label of the reported model at every site; those that nobody gives for one reason in one row."""
    chosen = FEDERATED if lookup.has_federated else None
    keys = list(dict.fromkeys((row.metric, row.label) for row in lookup.results.metrics))
    sites = lookup.test_sites
    rows = []
    nowhere: dict[tuple[str, ...], tuple[dict[str, None], tuple[Cell, ...]]] = {}
    for metric, label in keys:
        found = [lookup.metric(chosen or WITHOUT + site, site, metric, label) for site in sites]
        cells = tuple(metric_cell(item) for item in found)
        if all(item is not None and item.row.value is None for item in found):
            names, _ = nowhere.setdefault(tuple(plain(cell.note) for cell in cells), ({}, cells))
            names[metric_name(metric)] = None
            continue
        better = ", lower is better" if metric in LOWER_IS_BETTER else ""
        rows.append((Cell((metric_name(metric),), note=(f"{label}{better}",), classes="arm"), *cells))
    rows += [(text(", ".join(names), "arm wide"), *cells) for names, cells in nowhere.values()]
    model = "the federated model" if chosen else "the federation trained without the hospital"
    return Table(f"Every metric of {model}, by hospital and class.", ("Metric", *sites), tuple(rows))


def comparison_table(lookup: Lookup) -> Table:
    """Every comparison of the run; the first model is named once when it is always the same."""
    tests = lookup.shown_tests()
    same = len({found.row.a for found in tests}) == 1
    first = arm_name(tests[0].row.a).lower() if same else "first"
    header = ("with", "at", "Test", "Patients", "Difference", "95% interval", "p", "p, Holm", "Shows")
    return Table(
        f"Every comparison that was made. Difference: {first} minus the model named here, in the unit of the metric "
        f"({metric_name(lookup.main_metric)}). The last column says what may be concluded about the {first} model. "
        "Mean and worst are compared by their interval alone, over the hospitals where the metric is defined.",
        ("Compared with", *header[1:]) if same else ("Compared", *header),
        tuple(_comparison(found.row, found.source, same=same) for found in tests),
        texts=(0, 1, 2, 8) if same else (0, 1, 2, 3, 9),
    )


def _comparison(row: Test, source: str, *, same: bool) -> tuple[Cell, ...]:
    names = (row.b,) if same else (row.a, row.b)
    told = row.test == INTERVAL_TEST and row.difference is not None  # the caption says the reason
    reason: Sentence = (Quote(row.reason, f"{source}/reason"),) if row.reason and not told else ()
    outcome = judge(row)
    return (
        *(text(arm_name(arm), "arm") for arm in names),
        text(site_name(row.test_site), "wide"),
        text(TESTS.get(row.test, row.test), "wide"),
        Cell((whole(row.patients, f"{source}/patients"),)),
        *_difference(row, source),
        Cell((p_value(row.p, f"{source}/p"),) if row.p is not None else (DASH,)),
        Cell((p_value(row.p_holm, f"{source}/p_holm"),) if row.p_holm is not None else (DASH,)),
        Cell((_SHOWS[outcome],), note=reason, classes=f"wide {outcome.name.lower()}"),
    )


def _difference(row: Test, source: str) -> tuple[Cell, Cell]:
    places = decimals(row.metric)
    value: Sentence = (DASH,)
    bounds: Sentence = (DASH,)
    if row.difference is not None:
        value = (fixed(row.difference, f"{source}/difference", places=places, signed=True),)
    if row.ci95 is not None:
        bounds = interval(row.ci95, f"{source}/ci95", places=places, signed=True)
    return Cell(value), Cell(bounds, classes="wide")


def seed_table(lookup: Lookup) -> Table | None:
    """The main metric of the reported model for each seed; None with one seed."""
    arm = FEDERATED if lookup.has_federated else ""
    if len(lookup.results.seeds) < 2 or not arm:
        return None
    sites = lookup.test_sites
    rows = []
    for place, seed in enumerate(lookup.results.seeds):
        cells = [_seed_cell(lookup, arm, site, seed) for site in sites]
        rows.append((Cell(("Seed ", whole(seed, pointer("seeds", place))), classes="arm"), *cells))
    name = metric_name(lookup.main_metric)
    return Table(f"{name} of the federated model, seed by seed.", ("Seed", *sites), tuple(rows))


def _seed_cell(lookup: Lookup, arm: str, site: str, seed: int) -> Cell:
    for place, row in enumerate(lookup.results.metrics):
        key = (row.arm, row.test_site, row.metric, row.label, row.seed, row.fold)
        if key == (arm, site, lookup.main_metric, lookup.main_label, seed, None):
            if row.value is None:
                return text(_NO_VALUE, "none")
            return Cell((fixed(row.value, pointer("metrics", place, "value"), places=decimals(row.metric)),))
    return text(DASH, "none")


def columns(header: Sequence[str], texts: Sequence[int]) -> list[str]:
    """The CSS class of each column: text or number."""
    return ["text" if place in texts else "number" for place in range(len(header))]
