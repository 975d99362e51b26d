"""The coordinator's tools: what they add up is the sum, and what was not opened stays random to them."""

from __future__ import annotations

import numpy as np
import pytest

from wardround.common.errors import WardroundError
from wardround.common.secagg.parameters import Strength
from wardround.simulations.attacks.coordinator import NotEnoughSharesError, View
from wardround.simulations.attacks.hospital import WEIGHTS, HospitalSpec
from wardround.simulations.attacks.lab import Lab, Setting, dead_model
from wardround.simulations.attacks.randomness import ScriptedRandom, derived


def _difference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left - right).astype(np.uint16)


def _looks_uniform(residual: np.ndarray) -> bool:
    """256 values: about 8 of them are small, and each of 16 bits is set in about half (6 standard deviations)."""
    bits = np.unpackbits(residual.astype("<u2").view(np.uint8)).reshape(residual.size, 16)
    small = (np.abs(residual.view("<i2").astype(np.int64)) <= 1000).sum()
    return bool(small <= 24 and (np.abs(bits.sum(axis=0) - residual.size / 2) <= 48).all())


@pytest.mark.parametrize("strength", Strength)
@pytest.mark.parametrize("dropped", [0, 1])
def test_an_honest_run_ends_with_the_sum(strength: Strength, dropped: int) -> None:
    lab = Lab(Setting(5, 1, 1, strength=strength))
    session, alive = lab.first_session(), lab.positions(lab.sites[dropped:])
    view = lab.view(session)
    view.begin(alive)
    view.upload(alive)
    view.open_set(alive, alive)
    assert np.array_equal(view.total(alive), lab.truth(lab.sites[dropped:]))


def test_nothing_is_known_before_the_opening() -> None:
    lab = Lab(Setting.usual(5))
    view = lab.uploaded(lab.first_session())
    with pytest.raises(NotEnoughSharesError):
        view.total(lab.positions())
    assert _looks_uniform(_difference(view.best_guess(1), lab.truth([lab.victim])))


def test_one_share_less_than_the_threshold_opens_nothing() -> None:
    lab = Lab(Setting.usual(5))
    view, few = lab.uploaded(lab.first_session()), lab.quorum()[:-1]
    survivors = view.survivors(lab.positions())
    signatures = view.confirm(survivors, lab.quorum())
    view.open(survivors, signatures, few)
    with pytest.raises(NotEnoughSharesError):
        view.total(lab.positions())
    view.open(survivors, signatures, lab.quorum())
    assert np.array_equal(view.total(lab.positions()), lab.truth(lab.sites))


@pytest.mark.parametrize("sites", [5, 10])
def test_a_late_upload_stays_random_with_every_share_that_honest_sites_send(sites: int) -> None:
    lab = Lab(Setting.usual(sites))
    view, rest = _late(lab)
    with pytest.raises(WardroundError, match="WR-1708"):
        view.open_set(lab.positions(), lab.positions(lab.honest))
    for site in lab.positions(lab.others):
        view.read_packets(site, lab.positions(lab.colluders))
    victim = lab.positions([lab.victim])[0]
    view.read_packets(victim, lab.positions(lab.colluders))
    pairs = [view.secret(victim, other) for other in rest]  # every pair mask is known ...
    assert len(set(pairs)) == len(rest)
    with pytest.raises(NotEnoughSharesError):  # ... and the self mask is not
        view.secret(victim, victim)
    assert _looks_uniform(_difference(view.best_guess(victim), lab.truth([lab.victim])))


@pytest.mark.parametrize("sites", [5, 10])
def test_the_same_upload_is_the_update_itself_without_the_two_rules(sites: int) -> None:
    lab = Lab(Setting.usual(sites), ("one_signature", "opened_once"))
    view, _ = _late(lab)
    view.open_set(lab.positions(), lab.positions())
    victim = lab.positions([lab.victim])[0]
    assert not _difference(view.best_guess(victim), lab.truth([lab.victim])).any()


def _late(lab: Lab) -> tuple[View, tuple[int, ...]]:
    """An attempt that was opened by everybody without the victim, whose upload came afterwards."""
    view, rest = lab.view(lab.first_session()), lab.positions(lab.others)
    view.begin(lab.positions())
    view.upload(rest)
    view.open_set(rest, lab.positions())
    view.upload(lab.positions([lab.victim]))
    return view, rest


def test_masked_updates_look_random_and_the_updates_do_not() -> None:
    lab = Lab(Setting.usual(3))
    view = lab.uploaded(lab.first_session())
    assert all(_looks_uniform(masked) for masked in view.masked.values())
    assert not _looks_uniform(lab.truth([lab.victim]))


def test_updates_of_the_dead_model_are_zero() -> None:
    lab = Lab(Setting.usual(3))
    view = lab.view(lab.first_session(), content=dead_model())
    view.begin(lab.positions())
    assert not lab.truth([lab.victim])[:WEIGHTS].any()


def test_hospitals_differ_and_are_the_same_again() -> None:
    lab, again = Lab(Setting.usual(3)), Lab(Setting.usual(3))
    first, second = lab.uploaded(lab.first_session()), again.uploaded(again.first_session())
    assert all(np.array_equal(first.masked[site], second.masked[site]) for site in range(3))
    truths = [lab.truth([site]).tobytes() for site in lab.sites]
    assert len(set(truths)) == 3


def test_a_spec_survives_its_json() -> None:
    lab = Lab(Setting.usual(3), ("certificate",))
    lab.admit(lab.sites)
    spec = lab.stage.hospitals[lab.victim].spec
    assert HospitalSpec.from_json(spec.to_json()) == spec


def test_scripted_randomness_does_not_repeat_and_goes_on_where_it_was() -> None:
    source = ScriptedRandom(derived(b"seed", "test"))
    parts = [source(length) for length in (32, 5, 16, 1)]
    assert len({part[:1] for part in parts}) > 1
    rest = ScriptedRandom(derived(b"seed", "test"), drawn=48)
    assert rest(16) == parts[2]
    assert rest(1) == parts[3]
    assert derived(b"seed", "a", "b") != derived(b"seed", "ab")
