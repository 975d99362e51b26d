"""``wardround attack leakage``: attacks on a study's promise to its patients, each with its control without noise."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wardround.client.home import write_atomically
from wardround.simulations.attacks.leakage.bounds import gaussian_epsilon
from wardround.simulations.attacks.leakage.canaries import audit, audits
from wardround.simulations.attacks.leakage.finding import succeeds, within
from wardround.simulations.attacks.leakage.images import Population, drawn_images, pick
from wardround.simulations.attacks.leakage.imprint import imprint
from wardround.simulations.attacks.leakage.inversion import invert_linear, invert_network
from wardround.simulations.attacks.leakage.membership import attack_toy, memberships
from wardround.simulations.attacks.leakage.results import FILE, NAME, LeakageCase, LeakageReport
from wardround.simulations.attacks.leakage.scores import Scores
from wardround.simulations.attacks.leakage.toys import promise_of, toy_study, without_noise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from wardround.common.study import Study
    from wardround.simulations.attacks.leakage.bounds import Promise
    from wardround.simulations.attacks.leakage.finding import Finding

    Attack = Callable[[Study], Finding]

SEEDS: Final = 5

TRAINED: Final = 8
"""Toys whose members are looked for: enough for the control to exceed a claim of 8."""

DRAWN: Final = 1100
"""Phantoms that are drawn where a study has too few images."""


@dataclass(frozen=True, slots=True)
class Suite:
    """What is attacked, and how thoroughly.

    Args:
        study: Whose promise it is; None attacks the toy, which promises epsilon 3.
        images: Of the study's patients, one each, ``[N, H, W]`` in random order; None: drawn ones.
        more: Attacks on whole runs of the study, by name; each is given the study to attack.
        seeds: How often the canaries are attacked.
        quick: Leaves out what takes a minute: inverting a network of the catalogue.
        with_noise: False attacks the study without its noise: the positive control of the whole suite.
    """

    study: Study | None = None
    images: NDArray[np.floating] | None = None
    more: Mapping[str, Attack] | None = None
    seeds: int = SEEDS
    quick: bool = False
    with_noise: bool = True

    def attacks(self, promise: Promise) -> dict[str, Attack]:
        """Every attack on toys, by name."""
        found = self.images if self.images is not None else drawn_images(DRAWN, 0)
        population = Population.of(found)
        attacks: dict[str, Attack] = {
            "canaries": partial(_audits, promise=promise, seeds=self.seeds),
            "membership-linear": partial(_memberships, delta=promise.delta),
        }
        ways = {"inversion-linear": invert_linear, "crafted-module": imprint}
        if not self.quick:
            ways["inversion-small-cnn"] = invert_network
        for name, way in ways.items():
            attacks[name] = partial(_picked, way=way, population=population, delta=promise.delta)
        return attacks


def attack_leakage(
    suite: Suite, folder: Path, watch: Callable[[int, int], None] = lambda _done, _all: None
) -> LeakageReport:
    """Carry out a suite.

    Args:
        suite: What is attacked.
        folder: Where transcripts and ``leakage.json`` go; made if it is missing.
        watch: Told how many attacks are done, of how many.

    Raises:
        WardroundError: WR-1809, the study promises nothing.
    """
    toy = toy_study(suite.study)
    promise = promise_of(toy)
    on_toys, on_runs = suite.attacks(promise), dict(suite.more or {})
    folder.mkdir(parents=True, exist_ok=True)
    cases: list[LeakageCase] = []
    for name, attack in (on_toys | on_runs).items():
        watch(len(cases), len(on_toys) + len(on_runs))
        study = toy if name in on_toys or suite.study is None else suite.study
        noisy = suite.with_noise and study.promise.noisy
        cases.append(_carry_out(name, attack, study, promise, folder / f"{name}.json", noisy=noisy))
    report = _report(suite, toy, promise, cases, folder)
    write_atomically(folder / FILE, report.model_dump_json(indent=1).encode())
    return report


def _carry_out(
    name: str, attack: Attack, study: Study, promise: Promise, transcript: Path, *, noisy: bool
) -> LeakageCase:
    control = attack(without_noise(study))
    found = attack(study) if noisy else control
    write_atomically(transcript, _transcript(name, study, attacked=found, control=control))
    return LeakageCase(
        case=name,
        n=found.n,
        refused=within(found, promise),
        reason=found.words,
        epsilon=gaussian_epsilon(found.errors, promise),
        any_epsilon=found.any_epsilon,
        control_succeeds=succeeds(control, promise),
        weak=control.telling is not None,
        control=control.words,
        transcript=str(transcript),
    )


def _transcript(name: str, study: Study, **findings: Finding) -> bytes:
    parts: dict[str, Any] = {"attack": NAME, "case": name, "study": study.model_dump(mode="json", by_alias=True)}
    for part, finding in findings.items():
        errors = asdict(finding.errors)
        parts[part] = {"words": finding.words, "errors": errors, "any_epsilon": finding.any_epsilon, **finding.record}
    return json.dumps(parts).encode()


def _report(suite: Suite, toy: Study, promise: Promise, cases: list[LeakageCase], folder: Path) -> LeakageReport:
    claimed = toy.promise.promised
    return LeakageReport(
        study=toy.name if suite.study is None else suite.study.name,
        trust=toy.promise.trust,
        claimed_epsilon=claimed,
        delta=promise.delta,
        empirical_epsilon=max(case.epsilon for case in cases),
        any_epsilon=max(case.any_epsilon for case in cases),
        judged_by=promise.epsilon,
        cases=tuple(cases),
        folder=str(folder),
        passed=claimed is not None and all(case.holds for case in cases),
    )


def _audits(study: Study, *, promise: Promise, seeds: int) -> Finding:
    coins = [np.random.default_rng([seed, 0]) for seed in range(seeds)]
    return audits([audit(study, promise, coin) for coin in coins], promise.delta)


def _memberships(study: Study, *, delta: float) -> Finding:
    images = [np.random.default_rng([seed, 1]) for seed in range(TRAINED)]
    return memberships(Scores.joined([attack_toy(study, image) for image in images]), delta)


def _picked(
    study: Study, *, way: Callable[[Study, Population, int], NDArray[np.float64]], population: Population, delta: float
) -> Finding:
    return pick(population, partial(way, study, population)).finding(delta)
