"""The answer, first: did federation help, for whom, who loses, how certain.

:func:`answer` is a pure function of results and study. It claims no more than the comparisons of
the run support (see :mod:`wardround.simulations.report.outcome`), and every number in it says
where it stands in ``results.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.simulations.report.answer_certainty import certainty
from wardround.simulations.report.answer_outside import left_out, unseen
from wardround.simulations.report.answer_undefined import what_is_left
from wardround.simulations.report.lookup import Lookup
from wardround.simulations.report.names import CENTRALISED, FEDERATED, LOCAL, listed, metric_name
from wardround.simulations.report.outcome import Outcome, difference, judge, short_value, value, verdict
from wardround.simulations.report.promise import promise_point
from wardround.simulations.report.sourced import Quote, Strong, decimals, fixed, plain

if TYPE_CHECKING:
    from wardround.common.study import Study
    from wardround.simulations.report.lookup import FoundMetric, FoundTest
    from wardround.simulations.report.sourced import Sentence
    from wardround.simulations.results import Results

MANY_SITES = 8
"""With more training sites than this, the answer spells out only those that may lose."""


@dataclass(frozen=True, slots=True)
class Point:
    """One question of the answer and the sentences that settle it."""

    question: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict in one or two sentences, and the points behind it."""

    verdict: tuple[Sentence, ...]
    points: tuple[Point, ...]

    def text(self) -> str:
        """The whole answer as plain text, one paragraph a point."""
        paragraphs = [" ".join(map(plain, self.verdict))]
        paragraphs += [f"{point.question} {' '.join(map(plain, point.sentences))}" for point in self.points]
        return "\n".join(paragraphs)


def answer(results: Results, study: Study) -> Answer:
    """Say what the run shows.

    Without a federated arm (leave-one-site-out protocols) the answer is about unseen hospitals; a coordinator sees no
    figures, and its answer is about the run.
    """
    lookup = Lookup(results, study)
    if results.seen_from == "coordinator":
        return _of_a_coordinator(lookup)
    if not lookup.has_federated:
        verdict_sentences, sentences = left_out(lookup)
        points = [Point("At a hospital that took no part?", sentences), *_last(lookup)]
        return Answer(verdict_sentences, tuple(point for point in points if point.sentences))
    points = [
        Point("Against each hospital alone, on its own patients?", _against_alone(lookup)),
        Point("Who loses?", _losers(lookup)),
        Point("Against pooling all data?", _against_pooled(lookup)),
        Point("Used at all hospitals?", _everywhere(lookup)),
        Point("At hospitals that took no part?", (*unseen(lookup), *left_out(lookup)[1])),
        *_last(lookup),
    ]
    return Answer(_verdict(lookup), tuple(point for point in points if point.sentences))


def _of_a_coordinator(lookup: Lookup) -> Answer:
    """What is known without figures of test patients."""
    verdict: Sentence = ("Whether federation helped stands in the reports of the hospitals, which keep the figures.",)
    complete = lookup.results.status == "completed"
    went = "Every hospital is in every round." if complete else "Some hospitals missed rounds; see the warnings."
    points = (Point("How did the run go?", ((went,),)), *_last(lookup)[:1])
    return Answer((verdict,), tuple(point for point in points if point.sentences))


def _last(lookup: Lookup) -> tuple[Point, ...]:
    return Point("What are patients promised?", promise_point(lookup)), Point("How certain is this?", certainty(lookup))


def _own(lookup: Lookup) -> dict[str, FoundTest]:
    """Federated against a site's own model on that site's test patients, by site."""
    found = {site: lookup.test(FEDERATED, LOCAL + site, site) for site in lookup.training_sites}
    return {site: test for site, test in found.items() if test is not None}


def _verdict(lookup: Lookup) -> tuple[Sentence, ...]:
    own = _own(lookup)
    by_outcome = {kind: [site for site, test in own.items() if judge(test.row) is kind] for kind in Outcome}
    better, worse = by_outcome[Outcome.BETTER], by_outcome[Outcome.WORSE]
    rest = by_outcome[Outcome.NOT_SHOWN]
    silent = by_outcome[Outcome.NOT_TESTED] + by_outcome[Outcome.UNDEFINED]
    if not own:
        first: Sentence = ("This run holds no comparison of the federated model with a hospital's own model.",)
    else:
        only = next(iter(own)) if len(own) == 1 else None
        headline = _headline(lookup, better, worse, rest) if only is None else _headline_of_one(own[only], only)
        first = (headline, _remainder(better, worse, rest, silent))
    return (first, *_verdict_everywhere(lookup), *_verdict_pooled(lookup))


def _headline(lookup: Lookup, better: list[str], worse: list[str], rest: list[str]) -> str:
    if better and worse:
        return (
            f"Federation helped some hospitals and cost others: its model was better than the hospital's own "
            f"model at {listed(better)} and worse at {listed(worse)}."
        )
    if better:
        everywhere = len(better) == len(lookup.training_sites)
        where = f"every hospital ({listed(better)})" if everywhere else listed(better)
        return f"Federation helped: its model was better than the hospital's own model at {where}."
    if worse:
        start = "Federation did not help the hospitals on their own patients: its model was worse than"
        return f"{start} the hospital's own model at {listed(worse)}."
    if rest:
        return "No hospital could be shown to gain or to lose on its own patients by taking part."
    return "Whether federation helped cannot be tested with these patients; what follows describes what was measured."


def _headline_of_one(test: FoundTest, site: str) -> str:
    """The headline where one hospital was measured: nothing is said of others."""
    words = {
        Outcome.BETTER: f"Federation helped {site}: the federated model was better than the hospital's own model.",
        Outcome.WORSE: f"Federation did not help {site} on its own patients: the federated model was worse than the "
        "hospital's own model.",
        Outcome.NOT_SHOWN: f"{site} could not be shown to gain or to lose on its own patients by taking part.",
    }
    not_tested = (
        f"Whether federation helped {site} cannot be tested with these patients; what follows describes what was "
        "measured."
    )
    return words.get(judge(test.row), not_tested)


def _remainder(better: list[str], worse: list[str], rest: list[str], silent: list[str]) -> str:
    parts = []
    if rest and (better or worse):
        parts.append(f" At {listed(rest)} no difference could be shown.")
    if silent and (better or worse or rest):
        parts.append(f" At {listed(silent)} no test was possible.")
    return "".join(parts)


def _verdict_everywhere(lookup: Lookup) -> tuple[Sentence, ...]:
    """Whether one federated model serves all hospitals better than any hospital's own model would."""
    tests = {arm: test for arm in lookup.local_arms if (test := lookup.test(FEDERATED, arm, "mean")) is not None}
    better = [arm for arm, test in tests.items() if judge(test.row) is Outcome.BETTER]
    worse = [arm for arm, test in tests.items() if judge(test.row) is Outcome.WORSE]
    note = _note(mean) if (mean := lookup.metric(FEDERATED, "mean")) else ()
    start: Sentence = ("Used at all hospitals and averaged over them", *note, ", the federated model was")
    sentences: list[Sentence] = []
    if better:
        every = len(better) == len(lookup.local_arms)
        whose = "every hospital's own model" if every else f"the own model of {listed(_sites(better))}"
        sentences.append((*start, f" better than {whose}."))
    if worse:
        sentences.append((*start, f" worse than the own model of {listed(_sites(worse))}."))
    return tuple(sentences)


def _sites(local_arms: list[str]) -> list[str]:
    return [arm.removeprefix(LOCAL) for arm in local_arms]


def _verdict_pooled(lookup: Lookup) -> tuple[Sentence, ...]:
    federated, pooled = lookup.metric(FEDERATED, "mean"), lookup.metric(CENTRALISED, "mean")
    if federated is None or pooled is None or federated.row.value is None or pooled.row.value is None:
        return ()
    name = metric_name(lookup.main_metric)
    mean, other = short_value(federated), short_value(pooled)
    start: Sentence = (
        f"The federated model's mean {name} over the hospitals",
        *_note(federated),
        " was ",
        *mean,
        "; with all data pooled in one place, ",
        *other,
    )
    test = lookup.test(FEDERATED, CENTRALISED, "mean")
    words = {
        Outcome.BETTER: " (the federated mean is higher)",
        Outcome.WORSE: " (the federated mean is lower)",
        Outcome.NOT_SHOWN: " (no difference could be shown)",
    }
    return ((*start, words.get(judge(test.row), "") if test else "", "."),)


def _against_alone(lookup: Lookup) -> tuple[Sentence, ...]:
    own = _own(lookup)
    spelt = {site: test for site, test in own.items() if len(own) <= MANY_SITES or _may_lose(test)}
    sentences: list[Sentence] = []
    for site, test in spelt.items():
        sentences.append(_site_sentence(lookup, site, test, LOCAL + site, "alone"))
        if judge(test.row) is Outcome.UNDEFINED:
            sentences += what_is_left(lookup, site, {"federated": FEDERATED, "alone": LOCAL + site})
    if len(spelt) < len(own):
        sentences.append(("The other hospitals are in the table of comparisons.",))
    missing = [site for site in lookup.training_sites if site not in own]
    if missing and own:
        sentences.append((f"For {listed(missing)} there is no comparison.",))
    return tuple(sentences)


def _site_sentence(lookup: Lookup, site: str, test: FoundTest, other: str, word: str) -> Sentence:
    federated, opponent = lookup.metric(FEDERATED, site), lookup.metric(other, site)
    both = federated is not None and opponent is not None
    if not both or judge(test.row) is Outcome.UNDEFINED:
        return (Strong(site), ": ", *verdict(test), ".")
    values = ("federated ", *short_value(federated), f", {word} ", *short_value(opponent))
    return (Strong(site), ": ", *values, " \N{EN DASH} ", *verdict(test), ".")


def _may_lose(test: FoundTest) -> bool:
    return test.row.difference is not None and test.row.difference < 0


def _losers(lookup: Lookup) -> tuple[Sentence, ...]:
    own = _own(lookup)
    losers = {site: test for site, test in own.items() if judge(test.row) is Outcome.WORSE}
    if losers:
        parts = [
            (Strong(site), " loses compared with its own model: ", *difference(test), ".")
            for site, test in losers.items()
        ]
        return (*parts, *_lowest(own, skip=set(losers)))
    if not own:
        return ()
    none = "No hospital is shown to lose." if len(own) > 1 else f"{next(iter(own))} is not shown to lose."
    return ((none,), *_lowest(own, skip=set()))


def _lowest(own: dict[str, FoundTest], skip: set[str]) -> tuple[Sentence, ...]:
    """The least favourable of the sites that are not shown to lose: what cannot be ruled out there."""
    open_sites = {site: test for site, test in own.items() if site not in skip and test.row.difference is not None}
    if not open_sites:
        return ()
    site, test = min(open_sites.items(), key=lambda item: item[1].row.difference or 0.0)
    if judge(test.row) is Outcome.BETTER:
        return ()
    number = fixed(test.row.difference or 0.0, f"{test.source}/difference", signed=True)
    start: Sentence = (
        f"The least favourable of the other differences is at {site}: "
        if skip
        else f"The least favourable difference is at {site}: ",
        number,
    )
    if test.row.ci95 is None:
        return ((*start, ", without an interval; a loss there is not ruled out."),)
    low = fixed(test.row.ci95[0], f"{test.source}/ci95/0", signed=True)
    end = "; its interval reaches down to " if test.row.ci95[0] < 0 else "; its interval begins at "
    size = "of that size" if round(test.row.ci95[0], decimals(test.row.metric)) < 0 else "too small to be shown here"
    tail = f", so a loss {size} is not ruled out." if test.row.ci95[0] < 0 else "."
    return ((*start, end, low, tail),)


def _against_pooled(lookup: Lookup) -> tuple[Sentence, ...]:
    tests = {site: lookup.test(FEDERATED, CENTRALISED, site) for site in lookup.training_sites}
    found = {site: test for site, test in tests.items() if test is not None}
    spelt = {site: test for site, test in found.items() if len(found) <= MANY_SITES or _may_lose(test)}
    sentences = [_site_sentence(lookup, site, test, CENTRALISED, "pooled") for site, test in spelt.items()]
    if len(spelt) < len(found):
        sentences.append(("The other hospitals are in the table of comparisons.",))
    return tuple(sentences)


def _note(found: FoundMetric) -> Sentence:
    """What the run says about a summary that it could take over some hospitals only."""
    if not found.row.reason:
        return ()
    return (" (", Quote(found.row.reason, f"{found.source}/reason"), ")")


def _everywhere(lookup: Lookup) -> tuple[Sentence, ...]:
    """One model for every training site: means and worst sites, and tests of the mean where there are any."""
    sentences: list[Sentence] = []
    for summary, words in (("mean", "Mean over the training hospitals"), ("worst", "At its worst hospital")):
        federated = lookup.metric(FEDERATED, summary)
        others = [found for arm in lookup.local_arms if (found := lookup.metric(arm, summary)) is not None]
        known = [found for found in others if found.row.value is not None]
        if federated is None or not known:
            continue
        best = max(known, key=lambda found: found.row.value or 0.0)
        name = best.row.arm.removeprefix(LOCAL)
        rival: Sentence = ("; the best of the hospitals' own models, ", f"{name}'s, reaches ", *value(best))
        sentences.append((words, *_note(federated), ": federated ", *value(federated), *rival, "."))
    tests = [(arm, lookup.test(FEDERATED, arm, "mean")) for arm in lookup.local_arms]
    tested = [(arm, test) for arm, test in tests if test is not None]
    sentences += [
        (f"Mean, federated against {arm.removeprefix(LOCAL)}'s model: ", *verdict(t), ".") for arm, t in tested
    ]
    if sentences and not tested:
        sentences.append(("These summaries were not tested against each other.",))
    return tuple(sentences)
