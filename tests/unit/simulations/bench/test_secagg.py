"""The secure sum's benchmark: both sides give the right mean, rows are what was measured, small sizes run whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wardround.simulations.bench.secagg import PEER, SecaggSizes, bench_secagg, remarks, secagg_rows
from wardround.simulations.bench.secagg_ours import recover_secrets, share_secrets
from wardround.simulations.bench.secagg_sides import (
    BLOCK,
    CLIPPED_AT,
    LEVELS,
    OFF_BY,
    SPREAD,
    check_mean,
    cohort,
    draw_update,
    floor,
    free_memory,
    timed,
    weights,
)
from wardround.simulations.bench.secagg_store import MemoryStore

ALWAYS = [
    "client_upload",
    "client_upload_vs_floor",
    "after_training",
    "client_peak_vs_model",
    "bytes_up_vs_float32",
    "server_open",
    "server_open_one_drop",
    "shamir_split_50",
    "shamir_combine_50",
]


@pytest.fixture
def found() -> dict[str, Any]:
    """What a child could have measured, in seconds, bytes and MB."""
    return {
        "rounds": {
            "seconds": {
                "ours": {
                    "client_upload": [0.060, 0.900, 0.050],
                    "after_training": [0.020],
                    "server_open": [0.1],
                    "server_open_one_drop": [0.2],
                },
                "flower": {"client_upload": [0.6, 0.7, 0.1], "server_open": [0.5], "server_open_one_drop": [0.9]},
                "floor": {"client_upload": [0.040]},
            },
            "bytes_up": {"ours": 20_400_000, "flower": 80_000_000},
            "threshold": 7,
        },
        "peak_mb": {"ours": 44.0, "flower": 360.0},
        "shamir": {
            "seconds": {"ours": {"split": [0.0005], "combine": [0.0005]}, "flower": {"split": [0.3], "combine": [0.4]}},
            "threshold": 34,
        },
        "larger": {},
        "skipped": [],
    }


def test_rows_are_medians_and_ratios(found: dict[str, Any]) -> None:
    rows = {row.quantity: row for row in secagg_rows(SecaggSizes(), found)}
    assert list(rows) == ALWAYS
    assert [rows[name].ratio for name in ALWAYS] == pytest.approx([10, 1.5, 30, 1.1, 0.51, 5, 4.5, 600, 800])
    assert [name for name in ALWAYS if not rows[name].holds] == ["server_open_one_drop", "shamir_combine_50"]
    upload = rows["client_upload"]
    assert (upload.ours, upload.peer, upload.unit, upload.goal) == (pytest.approx(60), 600, "ms", ">= 10x")
    assert rows["after_training"].peer == upload.peer
    assert rows["client_peak_vs_model"].peer == rows["bytes_up_vs_float32"].peer == 40.0


def test_further_sizes_have_rows_and_may_not_grow_faster_than_sites_and_values(found: dict[str, Any]) -> None:
    sizes = SecaggSizes(larger=(("50x10M", 50, 10_000_000), ("10x100M", 10, 100_000_000)))
    found["larger"] = {
        "50x10M": {
            "ours": {"client_upload": 0.3, "server_open": 0.3},
            "flower": {"client_upload": 3.6, "server_open": 12.0},
        }
    }
    upload, server, growth = secagg_rows(sizes, found)[len(ALWAYS) :]
    assert (upload.quantity, upload.ratio) == ("client_upload_50x10M", pytest.approx(12))
    assert (server.quantity, server.ratio) == ("server_open_50x10M", pytest.approx(40))
    assert (growth.quantity, growth.ratio, growth.goal) == ("upload_50x10M_vs_10x10M", pytest.approx(5), "<= 6x")
    assert growth.holds


def test_the_peer_s_bytes_and_memory_are_told(found: dict[str, Any]) -> None:
    assert remarks(found) == [f"{PEER} sends 80.0 MB up, and its client's peak is 360 MB."]


def test_a_small_benchmark_runs_and_names_what_it_skips() -> None:
    larger = (("5x0.03M", 5, 30_000), ("4x1000000M", 4, 10**12))
    report = bench_secagg(
        SecaggSizes(sites=4, values=20_000, arrays=3, repeats=1, shamir_sites=5, larger=larger),
    )
    names = [row.quantity for row in report.rows]
    assert names == [
        *(name.replace("_50", "_5") for name in ALWAYS),
        "client_upload_5x0.03M",
        "server_open_5x0.03M",
        "upload_5x0.03M_vs_4x0.02M",
    ]
    assert all(row.ours > 0 and row.peer is not None and row.peer > 0 for row in report.rows)
    (sent,) = [row for row in report.rows if row.quantity == "bytes_up_vs_float32"]
    # Two bytes a value, and 3 packets of 4 shares of 33 bytes beside tail, tags and commitments.
    assert 2 * 20_000 + 3 * 4 * 33 < sent.ours * 1e6 < 2 * 20_000 + 2_000
    (skipped,) = [remark for remark in report.machine["remarks"] if "skipped" in remark]
    assert skipped.startswith("4x1000000M was skipped: 100000 GB of memory are needed")
    assert report.machine["settings"]["threshold"] == 3
    assert "num_shares n" in report.machine["settings"]["flower"]


@pytest.mark.parametrize("dropped", [0, 1])
@pytest.mark.parametrize("precomputed", [False, True])
def test_our_rounds_give_the_mean_of_who_uploaded(precomputed: bool, dropped: int) -> None:  # noqa: FBT001
    update = draw_update(70_000)
    sites = cohort(update, 5, 3)
    for _ in range(2):
        played = sites.play_round(precomputed=precomputed, dropped=dropped)
        check_mean(played.mean, update)
        assert len(played.client_seconds) == 5 - dropped
        assert min(played.client_seconds) > 0
        assert played.server_seconds > 0
        assert played.bytes_up > 2 * update.size


def test_a_wrong_mean_is_noticed_wherever_it_is() -> None:
    update = draw_update(2 * BLOCK + 5)
    check_mean(update + np.float32(OFF_BY / 2), update)
    for place in (0, BLOCK, update.size - 1):
        wrong = update.copy()
        wrong[place] += np.float32(2 * OFF_BY)
        with pytest.raises(RuntimeError, match="another mean"):
            check_mean(wrong, update)


def test_the_floor_rounds_to_the_nearest_levels() -> None:
    update = draw_update(BLOCK + 100)
    rounded = np.zeros(update.size, dtype=np.uint16)
    floor(update, 3, rounded)
    exact = update.astype(np.float64) * LEVELS / (CLIPPED_AT * SPREAD)
    off = rounded.view(np.int16) - exact
    assert np.abs(off).max() < 1.01
    assert abs(off.mean()) < 0.02  # unbiased: five standard deviations are 0.011


def test_the_store_that_stands_for_a_disk_keeps_vectors_encrypted() -> None:
    disk = np.zeros(70_000, dtype=np.uint16)
    values, found = np.arange(70_000).astype(np.uint16), np.zeros(70_000, dtype=np.uint16)
    store, key = MemoryStore(disk), bytes(range(32))
    store.seal(key, values)
    assert np.count_nonzero(disk == values) < 20
    store.unseal(key, found)
    np.testing.assert_array_equal(found, values)
    store.commit({"a": b"1", "b": b"2"})
    store.commit({"a": None, "missing": None})
    assert (store.get("a"), store.get("b")) == (None, b"2")


def test_sharing_and_recovering_can_be_repeated() -> None:
    assert len(timed(share_secrets(5, 4), 2)) == 2
    assert min(timed(recover_secrets(5, 4), 2)) > 0


def test_sites_weigh_differently_and_at_most_what_both_sides_allow() -> None:
    assert len(set(weights(50))) == 50
    assert max(weights(50)) <= 1000


def test_free_memory_is_that_of_the_machine() -> None:
    assert 10**8 < free_memory() < 10**14
