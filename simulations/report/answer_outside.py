"""The part of the answer about hospitals that took no part in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.simulations.report.answer_undefined import undefined, what_is_left
from wardround.simulations.report.names import (
    CENTRALISED,
    FEDERATED,
    LOCAL,
    POOLED_WITHOUT,
    WITHOUT,
    arm_name,
    listed,
    metric_name,
)
from wardround.simulations.report.outcome import Outcome, judge, short_value, value, verdict
from wardround.simulations.report.sourced import Strong, joined

if TYPE_CHECKING:
    from wardround.simulations.report.lookup import FoundMetric, FoundTest, Lookup
    from wardround.simulations.report.sourced import Sentence


def unseen(lookup: Lookup) -> tuple[Sentence, ...]:
    """The federated model at sites that no arm was trained on."""
    sentences: list[Sentence] = []
    for site in lookup.unseen_sites:
        found = lookup.metric(FEDERATED, site)
        if found is None:
            continue
        if found.row.value is None:
            sentences.append((Strong(site), ", never trained on: ", *undefined(found), "."))
            sentences += what_is_left(lookup, site, {"federated": FEDERATED, "pooled": CENTRALISED})
            continue
        sentences.append((Strong(site), ", never trained on: federated ", *value(found), *_others(lookup, site), "."))
        tests = lookup.against(FEDERATED, site)
        sentences += _shown([test for test in tests if not test.row.b.startswith((WITHOUT, POOLED_WITHOUT))])
    return tuple(sentences)


def _others(lookup: Lookup, site: str) -> Sentence:
    pooled = lookup.metric(CENTRALISED, site)
    parts: list[Sentence] = [(", pooled ", *short_value(pooled))] if pooled else []
    local = [found for arm in lookup.local_arms if (found := lookup.metric(arm, site)) and found.row.value is not None]
    if local:
        best = max(local, key=_value)
        parts.append((f", best single hospital ({best.row.arm.removeprefix(LOCAL)}) ", *short_value(best)))
    return joined(parts, "")


def _value(found: FoundMetric) -> float:
    return found.row.value if found.row.value is not None else float("-inf")


def _shown(tests: list[FoundTest]) -> list[Sentence]:
    """One sentence on the comparisons of one model at one site: those that show something, and the rest."""
    if not tests:
        return [("No comparison was tested there.",)]
    decided = [test for test in tests if judge(test.row) in {Outcome.BETTER, Outcome.WORSE}]
    silent = [test for test in tests if judge(test.row) in {Outcome.NOT_TESTED, Outcome.UNDEFINED}]
    equal = [test for test in tests if judge(test.row) is Outcome.NOT_SHOWN]
    sentences: list[Sentence] = []
    sentences += [(f"Against {_rival(test)}: ", *verdict(test), ".") for test in decided]
    if equal:
        sentences.append((f"Against {listed([_rival(test) for test in equal])} no difference could be shown there.",))
    if silent:
        sentences.append((f"Against {listed([_rival(test) for test in silent])} no test was possible there.",))
    return sentences


def _rival(test: FoundTest) -> str:
    return "pooled data" if test.row.b == CENTRALISED else arm_name(test.row.b)


def left_out(lookup: Lookup) -> tuple[tuple[Sentence, ...], tuple[Sentence, ...]]:
    """A federation at the site that it was trained without: the verdict, and a sentence a site."""
    sites = lookup.left_out_sites
    if not sites:
        return (("This run trained no federated model; it holds baselines only.",),), ()
    tests = {site: _own_test(lookup, site) for site in sites}
    return (_left_out_verdict(tests), *_range(lookup, sites)), tuple(
        sentence for site in sites for sentence in _left_out_site(lookup, site, tests[site])
    )


def _own_test(lookup: Lookup, site: str) -> FoundTest | None:
    return lookup.test(WITHOUT + site, LOCAL + site, site)


def _left_out_verdict(tests: dict[str, FoundTest | None]) -> Sentence:
    outcomes = {site: judge(test.row) for site, test in tests.items() if test is not None}
    better = [site for site, outcome in outcomes.items() if outcome is Outcome.BETTER]
    worse = [site for site, outcome in outcomes.items() if outcome is Outcome.WORSE]
    start = "This study asks how well a federated model works at a hospital that took no part."
    if not better and not worse:
        open_ = Outcome.NOT_SHOWN in outcomes.values()
        end = (
            " No difference from the hospital's own model could be shown at any of them."
            if open_
            else " It describes what was measured; no comparison could be tested."
        )
        return (start + end,)
    parts = [f" better than the hospital's own model at {listed(better)}"] if better else []
    parts += [f" worse than the hospital's own model at {listed(worse)}"] if worse else []
    return (f"{start} It was{' and'.join(parts)}.",)


def _range(lookup: Lookup, sites: list[str]) -> tuple[Sentence, ...]:
    known = [found for site in sites if (found := lookup.metric(WITHOUT + site, site)) and found.row.value is not None]
    if not known:
        return ()
    low, high = min(known, key=_value), max(known, key=_value)
    name = metric_name(lookup.main_metric)
    if len(known) == 1:
        return ((f"{name} at {low.row.test_site}: ", *value(low), "."),)
    ends = (*short_value(low), f" at {low.row.test_site} and ", *short_value(high), f" at {high.row.test_site}.")
    return ((f"{name} there lay between ", *ends),)


def _left_out_site(lookup: Lookup, site: str, test: FoundTest | None) -> list[Sentence]:
    found = lookup.metric(WITHOUT + site, site)
    if found is None:
        return []
    if found.row.value is None:
        return [(Strong(site), ": ", *undefined(found), ".")]
    full = lookup.metric(FEDERATED, site) if lookup.has_federated else None
    extra: Sentence = (", with it ", *short_value(full)) if full else ()
    sentence: Sentence = (Strong(site), ": federation without it ", *value(found), *extra, *_rivals(lookup, site), ".")
    part = lookup.test(FEDERATED, WITHOUT + site, site)
    worth: list[Sentence] = (
        [(f"With {site} against without it, on its own patients: ", *verdict(part), ".")] if part else []
    )
    if test is None:
        return [sentence, *worth]
    return [sentence, *worth, (f"Against {site}'s own model: ", *verdict(test), ".")]


def _rivals(lookup: Lookup, site: str) -> Sentence:
    pooled, own = lookup.metric(POOLED_WITHOUT + site, site), lookup.metric(LOCAL + site, site)
    without: Sentence = (", pooling without it ", *short_value(pooled)) if pooled else ()
    if own is not None:
        return (*without, ", its own model ", *short_value(own))
    rivals = [found for arm in lookup.local_arms if (found := lookup.metric(arm, site)) and found.row.value is not None]
    if not rivals:
        return without
    best = max(rivals, key=_value)
    name = best.row.arm.removeprefix(LOCAL)
    return (*without, f", best single other hospital ({name}) ", *short_value(best))
