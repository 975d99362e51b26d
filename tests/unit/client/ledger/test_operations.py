"""Reserve, spend, settle, withdraw and limits, each with what it refuses."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rfc8785
from fakes.ledgers import MECHANISM, NOW, RUN, SECRET, cohort, ledger, limited, reserve, spend, study

from wardround.client.ledger.accounts import accounts
from wardround.client.ledger.cost import cost, enforced_epsilon, fits
from wardround.client.ledger.events import START, Mechanism, chained, moment
from wardround.client.ledger.place import alone
from wardround.client.ledger.store import new_file
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.rdp import ORDERS, budget, rdp
from wardround.common.privacy.witness import Bound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wardround.client.ledger.ledger import Ledger

ALL = cohort(range(20))
COST = rdp(MECHANISM, ORDERS)


def refused(code: str, attempt: Callable[[], object]) -> str:
    with pytest.raises(WardroundError) as error:
        attempt()
    assert error.value.code == code, error.value
    return error.value.what


def most_rounds(epsilon: float) -> int:
    """How many rounds of 10 steps fit an epsilon, by trying."""
    room = budget(epsilon, 1e-5, ORDERS)
    return max(rounds for rounds in range(2000) if (rounds * 10 * COST <= room).any())


def test_a_run_reserves_spends_and_settles(tmp_path: Path) -> None:
    book = limited(tmp_path)
    reserve(book, ALL)
    for number in (1, 2, 3):
        receipt = book.spend(RUN, number, 1, ALL, now=NOW)
        assert (receipt.run, receipt.round, receipt.computation, receipt.steps) == (RUN, number, 1, 10)
    run = ledger(tmp_path).state().runs[RUN]
    assert (run.spent_steps, run.committed_steps, run.open_rounds) == (30, 100, 7)
    book.settle(RUN, now=NOW)
    run = ledger(tmp_path).state().runs[RUN]
    assert (run.spent_steps, run.committed_steps, run.open_rounds) == (30, 30, 0)
    refused("WR-1815", lambda: spend(book, ALL, 4))
    before = book.state().sequence
    book.settle(RUN, now=NOW)
    assert book.state().sequence == before


def test_exactly_what_fits_is_reserved(tmp_path: Path) -> None:
    most = most_rounds(4.0)
    assert most > 10
    book = limited(tmp_path, 4.0)
    assert "epsilon" in refused("WR-1807", lambda: reserve(book, ALL, rounds=most + 1))
    assert len(book.state().runs) == 0
    reserve(book, ALL, rounds=most)
    refused("WR-1807", lambda: reserve(book, cohort([5]), run="other", steps=10, rounds=1))
    reserve(book, cohort([99]), run="disjoint", rounds=most)  # nobody of whom anything was taken


def test_what_is_reserved_counts_for_every_study_and_data_set(tmp_path: Path) -> None:
    half = most_rounds(4.0) // 2 + 1
    book = limited(tmp_path, 4.0)
    reserve(book, cohort(range(10)), rounds=half)
    again = cohort([*range(10), *range(10, 20)])  # the same people imported once more, and others
    refused("WR-1807", lambda: reserve(book, again, run="second", of=study(2), rounds=half))
    refused("WR-1807", lambda: reserve(book, cohort([9, 30]), run="overlap", of=study(3), rounds=half))
    reserve(book, cohort(range(10, 30)), run="disjoint", of=study(4), rounds=half)
    refused("WR-1807", lambda: reserve(book, cohort([9, 30]), run="overlap", of=study(3), rounds=half))


def test_settling_frees_what_never_began_and_nothing_else(tmp_path: Path) -> None:
    most = most_rounds(4.0)
    book = limited(tmp_path, 4.0)
    reserve(book, ALL, rounds=most)
    spend(book, ALL, 1)
    spend(book, ALL, 2)
    refused("WR-1807", lambda: reserve(book, ALL, run="next", rounds=1))
    book.settle(RUN, now=NOW)
    refused("WR-1807", lambda: reserve(book, ALL, run="next", rounds=most - 1))
    reserve(book, ALL, run="next", rounds=most - 2)


def test_a_reservation_is_asked_for_twice_and_kept_once(tmp_path: Path) -> None:
    book = limited(tmp_path)
    reserve(book, ALL)
    before = book.state().sequence
    reserve(book, ALL)
    reserve(ledger(tmp_path), ALL)
    assert ledger(tmp_path).state().sequence == before
    refused("WR-1810", lambda: reserve(book, cohort(range(19))))
    refused("WR-1815", lambda: reserve(book, ALL, rounds=11))
    refused("WR-1815", lambda: reserve(book, ALL, steps=9))
    refused("WR-1815", lambda: reserve(book, ALL, of=study(2)))
    refused("WR-1815", lambda: reserve(book, ALL, mechanism=SampledGaussian(0.1, 3.0)))
    book.settle(RUN, now=NOW)
    refused("WR-1815", lambda: reserve(book, ALL))


def test_only_what_was_reserved_is_spent(tmp_path: Path) -> None:
    book = limited(tmp_path)
    refused("WR-1815", lambda: spend(book, ALL, 1))
    refused("WR-1815", lambda: book.settle(RUN, now=NOW))
    reserve(book, ALL, rounds=3)
    refused("WR-1815", lambda: spend(book, ALL, 4))
    refused("WR-1815", lambda: spend(book, ALL, 1, run="unknown"))
    refused("WR-1810", lambda: spend(book, cohort(range(19)), 1))
    refused("WR-1810", lambda: spend(book, cohort(range(21)), 1))
    assert book.state().runs[RUN].spent_steps == 0
    spend(book, ALL, 3)


def test_a_round_is_paid_for_once_and_again_if_computed_again(tmp_path: Path) -> None:
    most = most_rounds(4.0)
    book = limited(tmp_path, 4.0)
    reserve(book, ALL, rounds=most - 1)
    with pytest.raises(ValueError, match="computation 2"):
        spend(book, ALL, 1, computation=2)
    spend(book, ALL, 1)
    with pytest.raises(ValueError, match="computation 1"):
        spend(book, ALL, 1)
    assert book.computations(RUN, 1) == 1
    spend(book, ALL, 1, computation=2)
    run = book.state().runs[RUN]
    assert (run.spent_steps, run.committed_steps, run.open_rounds) == (20, most * 10, most - 2)
    refused("WR-1807", lambda: spend(book, ALL, 1, computation=3))
    spend(book, ALL, 2)  # that one was reserved


def test_a_second_computation_does_not_take_what_others_reserved(tmp_path: Path) -> None:
    most = most_rounds(4.0)
    book = limited(tmp_path, 4.0)
    reserve(book, ALL, rounds=2)
    reserve(book, cohort([7]), run="other", rounds=most - 2)
    spend(book, ALL, 1)
    refused("WR-1807", lambda: spend(book, ALL, 1, computation=2))
    book.settle(StudyRunId("other"), now=NOW)
    spend(book, ALL, 1, computation=2)


def test_nothing_without_a_limit(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    assert not book.exists
    refused("WR-1808", lambda: reserve(book, ALL))
    assert list(tmp_path.glob("ledger.sqlite*")) == []
    book.withdraw(cohort([1]), now=NOW)
    assert book.exists
    refused("WR-1808", lambda: reserve(book, cohort([2])))
    limited(tmp_path)
    reserve(book, cohort([2]))


def test_no_noise_is_infinite(tmp_path: Path) -> None:
    book = limited(tmp_path)
    refused("WR-1809", lambda: reserve(book, ALL, mechanism=None))
    refused("WR-1809", lambda: reserve(book, ALL, mechanism=SampledGaussian(0.1, 0.0)))
    book.set_limit(None, 0.0, admin="Ada", reason="virtual hospital", now=NOW)
    reserve(book, ALL, mechanism=None)
    spend(book, ALL, 1)
    book.set_limit(1e6, 1e-2, admin="Ada", reason="real again", now=NOW)
    refused("WR-1807", lambda: spend(book, ALL, 2))
    refused("WR-1807", lambda: reserve(book, cohort([3]), run="next", rounds=1))
    reserve(book, cohort([30]), run="next", rounds=1)


def test_a_lower_limit_holds_at_once(tmp_path: Path) -> None:
    book = limited(tmp_path, 4.0)
    reserve(book, ALL, rounds=most_rounds(4.0))
    spend(book, ALL, 1)
    book.set_limit(0.3, 1e-5, admin="Ada", reason="the committee met", now=NOW)
    refused("WR-1807", lambda: spend(book, ALL, 2))
    book.set_limit(4.0, 1e-5, admin="Ada", reason="the committee met again", now=NOW)
    for number in range(2, most_rounds(4.0) + 1):
        spend(book, ALL, number)


def test_withdrawal_acts_at_once_and_refunds_nothing(tmp_path: Path) -> None:
    book = limited(tmp_path, 4.0)
    reserve(book, ALL, rounds=5)
    reserve(book, cohort([40]), run="others")
    spend(book, ALL, 1)
    book.withdraw(cohort([3, 99]), now=NOW)
    assert "1 of the patients" in refused("WR-1810", lambda: spend(book, ALL, 2))
    refused("WR-1810", lambda: reserve(book, cohort([3]), run="r3", rounds=1))
    refused("WR-1810", lambda: reserve(book, cohort([98, 99]), run="r99", rounds=1))
    refused("WR-1810", lambda: reserve(book, ALL, rounds=5))
    spend(book, cohort([40]), 1, run="others")
    assert book.state().runs[RUN].spent_steps == 10
    before = book.state().sequence
    book.withdraw(cohort([99]), now=NOW)
    assert book.state().sequence == before
    reserve(book, cohort(set(range(20)) - {3}), run="without", rounds=1)


def test_a_cohort_that_a_crash_left_unused_still_holds_who_withdrew(tmp_path: Path) -> None:
    book, pair = limited(tmp_path), cohort([98, 99])
    book.withdraw(cohort([99]), now=NOW)
    with book._open() as pages:  # a crash came before the second withdrawal itself was recorded
        pages.see(pair, moment(NOW))
    refused("WR-1810", lambda: reserve(book, pair))
    refused("WR-1810", lambda: reserve(ledger(tmp_path), pair))
    reserve(book, cohort([98]))


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_number_above_zero(tmp_path: Path, epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        limited(tmp_path, epsilon)
    limited(tmp_path, 1.0)


@pytest.mark.parametrize("delta", [0.0, -1e-5, 1.0, float("nan")])
def test_delta_is_a_small_probability(tmp_path: Path, delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        limited(tmp_path, 1.0, delta)


@pytest.mark.parametrize(("admin", "reason"), [("", "why"), ("Ada", ""), ("A\nda", "why"), ("Ada", "w\nhy")])
def test_a_limit_has_a_name_and_a_reason(tmp_path: Path, admin: str, reason: str) -> None:
    book = ledger(tmp_path)
    with pytest.raises(ValueError, match=r"admin|reason"):
        book.set_limit(8.0, 1e-5, admin=admin, reason=reason, now=NOW)
    assert not book.exists
    book.set_limit(8.0, 1e-5, admin="Ada", reason="why", now=NOW)
    assert (book.state().limits[0].admin, book.state().limits[0].reason) == ("Ada", "why")


def test_the_files_are_for_the_site_alone(tmp_path: Path) -> None:
    reserve(limited(tmp_path), ALL)
    names = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert {"ledger.sqlite", "ledger.head", "ledger.lock", "ledger.turn"} <= set(names)
    assert set(names.values()) == {0o600}


def test_others_wait_and_then_give_up(tmp_path: Path) -> None:
    limited(tmp_path)
    with alone(tmp_path, 0):
        assert "in use" in refused("WR-1813", lambda: ledger(tmp_path, wait=0.05).state())
        waiting = ledger(tmp_path)
        done = threading.Thread(target=lambda: reserve(waiting, ALL))
        done.start()
    done.join()
    assert RUN in ledger(tmp_path).state().runs


def test_what_another_process_wrote_is_seen(tmp_path: Path) -> None:
    one, two = limited(tmp_path), ledger(tmp_path)
    reserve(one, ALL)
    spend(two, ALL, 1)
    spend(one, ALL, 2)
    spend(two, ALL, 3)
    assert one.state().digest == two.state().digest == ledger(tmp_path).state().digest
    assert one.state().runs[RUN].spent_steps == 30


def test_what_another_process_wrote_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    one, two = limited(tmp_path), ledger(tmp_path)
    reserve(one, ALL)
    spend(two, ALL, 1)
    found = (tmp_path / "ledger.sqlite").stat()  # as if the file's times and size were those that it was left with
    one._stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    spend(one, ALL, 2)
    assert ledger(tmp_path).check().runs[RUN].computations == {1: 1, 2: 1}


def test_the_filter_is_the_budget_at_some_order() -> None:
    limit = Bound(epsilon=4.0, delta=1e-5)
    room = budget(4.0, 1e-5, ORDERS)
    below = np.where(np.arange(len(ORDERS)) == 3, room, room + 1)
    assert fits(below[None], limit, None)
    assert not fits((below + 1e-9)[None], limit, None)
    assert not fits(np.stack([below, room + 1]), limit, None)
    assert enforced_epsilon(np.stack([below - 1, below]), limit) == pytest.approx(4.0)
    assert enforced_epsilon(np.zeros((2, len(ORDERS))), limit) == 0.0
    assert enforced_epsilon(np.full((1, len(ORDERS)), np.inf), limit) == np.inf


def test_what_was_lost_comes_off_both_numbers() -> None:
    limit, lost = Bound(epsilon=6.0, delta=3e-5), Bound(epsilon=4.0, delta=1e-5)
    totals = budget(2.0, 2e-5, ORDERS)[None]
    assert fits(totals, limit, lost)
    assert not fits(totals + 1e-9, limit, lost)
    assert enforced_epsilon(totals, limit, lost) == pytest.approx(6.0)
    assert not fits(np.zeros((1, len(ORDERS))), limit, limit)


def test_costs_add_up() -> None:
    step = Mechanism(rate=MECHANISM.rate, multiplier=MECHANISM.multiplier)
    assert cost(step, 7) == pytest.approx(7 * COST)
    assert not cost(step, 0).any()
    assert not cost(None, 0).any()
    assert np.isinf(cost(None, 1)).all()


def test_a_book_of_a_missing_folder_cannot_be_opened(tmp_path: Path) -> None:
    missing: Ledger = ledger(tmp_path / "nowhere")
    refused("WR-1813", missing.state)


def test_a_ledger_keeps_the_orders_of_its_first_day(tmp_path: Path) -> None:
    orders = (2.0, 5.0)
    at = {"at": "2025-01-01T00:00:00Z", "kind": "opened", "site": "north", "secret": SECRET, "incarnation": "00" * 16}
    with new_file(tmp_path / "ledger.sqlite") as file:  # as an earlier release made it
        content = rfc8785.dumps({**at, "orders": list(orders)})
        file.append(1, content, chained(START, content), None)
    book = limited(tmp_path, 4.0)
    cost_there, room = rdp(MECHANISM, orders), budget(4.0, 1e-5, orders)
    most = max(rounds for rounds in range(500) if (rounds * 10 * cost_there <= room).any())
    assert most != most_rounds(4.0)
    refused("WR-1807", lambda: reserve(book, ALL, rounds=most + 1))
    reserve(book, ALL, rounds=most)
    spend(book, ALL, 1)
    assert accounts(book.state()).committed == pytest.approx(
        1.0 + float((most * 10 * cost_there - budget(1.0, 1e-5, orders)).min())
    )
