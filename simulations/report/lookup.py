"""Find rows of ``results.json``, together with their place in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from wardround.simulations.report.names import FAMILIES, FEDERATED, LOCAL, SUMMARIES, WITHOUT, arm_name
from wardround.simulations.report.sourced import pointer
from wardround.simulations.statistics import comparisons, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.study import Study
    from wardround.simulations.results import Metric, Results, Test

NOT_SCORED: Final = (rows.NOT_SCORED, comparisons.NOT_SCORED)
"""Reasons of rows that stand for something that was not measured at all."""

_PRIMARY_TEST = {"auroc": "clustered_delong", "dice": "wilcoxon"}
INTERVAL_TEST: Final = "stratified_bootstrap"
"""The comparison of summaries over sites: an interval without a p-value."""


@dataclass(frozen=True, slots=True)
class FoundMetric:
    """A metric row and its JSON pointer."""

    row: Metric
    source: str


@dataclass(frozen=True, slots=True)
class FoundTest:
    """A test row and its JSON pointer."""

    row: Test
    source: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a figure or table: an arm, or the arms that leave one site out, as one.

    Attributes:
        name: As people read it.
        arms: Site -> the arm whose result on that site belongs to the line.
        summarised: Whether mean and worst over the training sites belong to it.
    """

    name: str
    arms: Mapping[str, str]
    summarised: bool


@dataclass(frozen=True)
class Lookup:
    """Results and study of one run, with questions about them."""

    results: Results
    study: Study

    @property
    def main_metric(self) -> str:
        """``auroc`` for classification, ``dice`` for segmentation: what the report is about."""
        return "dice" if self.study.task.kind == "segmentation" else "auroc"

    @cached_property
    def main_label(self) -> str:
        """The label of the main metric's rows: the mean over classes where there is one."""
        present = {row.label for row in self.results.metrics if row.metric == self.main_metric}
        for label in ("mean", "all", *self.study.task.labels):
            if label in present:
                return label
        return self.study.task.labels[0]

    @cached_property
    def training_sites(self) -> list[str]:
        """The study's sites."""
        return list(self.study.sites)

    @cached_property
    def unseen_sites(self) -> list[str]:
        """Test sites that no arm's study names as a training site, in order of appearance."""
        seen = {*self.study.sites, *SUMMARIES}
        return list(dict.fromkeys(row.test_site for row in self.results.metrics if row.test_site not in seen))

    @property
    def test_sites(self) -> list[str]:
        """Training sites, then unseen ones."""
        return self.training_sites + self.unseen_sites

    @property
    def scored_sites(self) -> list[str]:
        """Test sites where any arm was scored: in a hospital's own report, that hospital alone."""
        scored = {site for _, site, _, _ in self._metric_index}
        return [site for site in self.test_sites if site in scored]

    @property
    def has_federated(self) -> bool:
        """Whether the run trained the federated model of all sites."""
        return FEDERATED in self.results.arms

    @property
    def local_arms(self) -> list[str]:
        """Arms of one site alone."""
        return [arm for arm in self.results.arms if arm.startswith(LOCAL)]

    @property
    def left_out_sites(self) -> list[str]:
        """Sites that a federation was trained without."""
        return [arm.removeprefix(WITHOUT) for arm in self.results.arms if arm.startswith(WITHOUT)]

    def lines(self) -> list[Line]:
        """Every arm in the run's order; those of one leave-one-out family are one line."""
        lines: dict[str, Line] = {}
        for arm in self.results.arms:
            family = next((kind for kind in FAMILIES if arm.startswith(kind)), None)
            if family is None:
                lines[arm] = Line(arm_name(arm), dict.fromkeys(self.test_sites, arm), summarised=True)
            elif family not in lines:
                left_out = {site: family + site for site in self.training_sites if family + site in self.results.arms}
                lines[family] = Line(FAMILIES[family], left_out, summarised=False)
        return list(lines.values())

    def line_metric(self, line: Line, site: str, metric: str | None = None) -> FoundMetric | None:
        """The metric of the line's arm at the site; None where the line has no arm for it."""
        return self.metric(line.arms[site], site, metric) if site in line.arms else None

    @cached_property
    def _metric_index(self) -> dict[tuple[str, str, str, str], list[FoundMetric]]:
        index: dict[tuple[str, str, str, str], list[FoundMetric]] = {}
        for place, row in enumerate(self.results.metrics):
            if row.value is None and row.reason in NOT_SCORED:
                continue
            key = (row.arm, row.test_site, row.metric, row.label)
            index.setdefault(key, []).append(FoundMetric(row, pointer("metrics", place)))
        return index

    def metric(self, arm: str, site: str, metric: str | None = None, label: str | None = None) -> FoundMetric | None:
        """The row pooled over seeds and folds, or the only row there is; None when there is none."""
        key = (arm, site, metric or self.main_metric, label or self.main_label)
        found = self._metric_index.get(key, [])
        pooled = [item for item in found if item.row.seed is None and item.row.fold is None]
        if pooled:
            return pooled[0]
        return found[0] if len(found) == 1 else None

    def most_patients(self, arm: str, site: str) -> FoundMetric:
        """The row of the arm at the site with most patients: all of its test patients.

        Raises:
            ValueError: The arm has no row at the site.
        """
        found = [items for key, items in self._metric_index.items() if key[:2] == (arm, site)]
        return max((item for items in found for item in items), key=lambda item: item.row.patients)

    @cached_property
    def _test_index(self) -> dict[tuple[str, str, str], FoundTest]:
        index: dict[tuple[str, str, str], FoundTest] = {}
        wanted = {_PRIMARY_TEST[self.main_metric], INTERVAL_TEST}
        for place, row in enumerate(self.results.tests):
            if (
                row.reason not in NOT_SCORED
                and row.test in wanted
                and (row.metric, row.label) == (self.main_metric, self.main_label)
            ):
                index.setdefault((row.a, row.b, row.test_site), FoundTest(row, pointer("tests", place)))
        return index

    def test(self, a: str, b: str, site: str) -> FoundTest | None:
        """The comparison of two arms by the main metric's primary test.

        Clustered DeLong for AUROC, Wilcoxon for Dice; the stratified bootstrap for summaries over sites.
        """
        return self._test_index.get((a, b, site))

    def shown_tests(self) -> list[FoundTest]:
        """Every comparison of two arms that were both scored."""
        tests = enumerate(self.results.tests)
        return [FoundTest(row, pointer("tests", place)) for place, row in tests if row.reason not in NOT_SCORED]

    def against(self, a: str, site: str) -> list[FoundTest]:
        """Every comparison of arm ``a`` on one site's test patients, in the run's order."""
        return [found for (left, _, where), found in self._test_index.items() if (left, where) == (a, site)]
