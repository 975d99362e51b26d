"""Numbers that ride in the secure sum come back exact in fixed point, and impossible ones are refused."""

import math

import pytest

from wardround.common.errors import WardroundError
from wardround.common.secagg.scalars import ScalarSlot, Tail, from_limbs, limbs_of, to_limbs

LOSS = ScalarSlot("training_loss", low=0.0, high=64.0, resolution=2.0**-16)
SHIFT = ScalarSlot("shift", low=-1.0, high=1.0, resolution=0.25)


def summed(*sites: list[int]) -> list[int]:
    return [sum(column) for column in zip(*sites, strict=True)]


def test_a_tail_is_weight_then_presence_and_digits_of_each_slot() -> None:
    tail = Tail(weight_cap=1000, slots=(SHIFT, LOSS))
    assert tail.encode(258, {"shift": 0.25, "training_loss": 1.5}) == [2, 1, 1, 5, 1, 0, 0x80, 1]
    assert tail.size == 8
    assert tail.encode(0, {}) == [0] * 8


def test_sums_and_counts_are_exact_in_fixed_point() -> None:
    tail = Tail(weight_cap=1000, slots=(SHIFT, LOSS))
    total = summed(
        tail.encode(1000, {"shift": -0.75, "training_loss": 3.25}),
        tail.encode(999, {"shift": 1.0}),
        tail.encode(1, {"shift": 0.5, "training_loss": 0.0}),
    )
    found = tail.decode(total, 3)
    assert found.weight == 2000
    assert found.sums == {"shift": 0.75, "training_loss": 3.25}
    assert found.counts == {"shift": 3, "training_loss": 2}


def test_no_limb_of_128_sites_reaches_half_of_a_16_bit_ring() -> None:
    tail = Tail(weight_cap=2**24 - 1, slots=(LOSS,))
    total = summed(*[tail.encode(2**24 - 1, {"training_loss": 64.0 - 2.0**-16})] * 128)
    assert max(total) == 128 * 255 < 2**15
    found = tail.decode(total, 128)
    assert found.weight == 128 * (2**24 - 1)
    assert found.sums["training_loss"] == 128 * (64.0 - 2.0**-16)


def test_numbers_are_clamped_rounded_to_the_nearest_step_and_nan_is_absent() -> None:
    tail = Tail(weight_cap=1, slots=(SHIFT,))

    def told(number: float) -> tuple[float, int]:
        found = tail.decode(tail.encode(1, {"shift": number}), 1)
        return found.sums["shift"], found.counts["shift"]

    assert told(7.0) == told(math.inf) == (1.0, 1)
    assert told(-7.0) == told(-math.inf) == (-1.0, 1)
    assert told(0.3) == (0.25, 1)
    assert told(0.4) == (0.5, 1)
    assert told(math.nan) == (0.0, 0)


def test_a_range_that_is_no_whole_number_of_steps_stays_within_half_a_step() -> None:
    slot = ScalarSlot("score", low=0.0, high=1.0, resolution=0.3)
    tail = Tail(weight_cap=1, slots=(slot,))
    for number in (0.0, 0.2, 0.44, 0.46, 0.9, 1.0):
        assert abs(tail.decode(tail.encode(1, {"score": number}), 1).sums["score"] - number) <= 0.15 + 1e-12


def test_what_no_sites_could_have_given_is_refused() -> None:
    tail = Tail(weight_cap=300, slots=(SHIFT,))
    most = summed(tail.encode(300, {"shift": 1.0}), tail.encode(300, {"shift": 1.0}))
    assert tail.decode(most, 2).weight == 600
    for place, what in enumerate(("the weight", "a limb", "shift", "shift")):
        changed = list(most)
        changed[place] += 1000 if what == "a limb" else 1
        with pytest.raises(WardroundError, match=what) as refused:
            tail.decode(changed, 2)
        assert refused.value.code == "WR-1713"
    with pytest.raises(WardroundError, match="the weight"):
        tail.decode(most, 1)


def test_limbs_are_digits_of_base_256() -> None:
    assert [limbs_of(largest) for largest in (0, 1, 255, 256, 65_535, 65_536)] == [1, 1, 1, 2, 2, 3]
    assert to_limbs(0x010203, 4) == [3, 2, 1, 0]
    assert from_limbs([3 + 250, 2 + 255, 1]) == 0x010203 + 250 + 255 * 256
    with pytest.raises(OverflowError):
        to_limbs(256, 1)


@pytest.mark.parametrize(
    ("name", "low", "high", "resolution"),
    [("", 0.0, 1.0, 0.1), ("a", 1.0, 1.0, 0.1), ("a", 0.0, 1.0, 0.0), ("a", 0.0, math.inf, 0.1),
     ("a", math.nan, 1.0, 0.1), ("a", 0.0, 1.0, 2.0), ("a", 0.0, 1.0, 2.0**-48)],
)  # fmt: skip
def test_slots_that_cannot_be_are_bugs(name: str, low: float, high: float, resolution: float) -> None:
    assert ScalarSlot("a", 0.0, 1.0, 2.0**-47).limbs == 6
    with pytest.raises(ValueError, match=r"slot|range"):
        ScalarSlot(name, low, high, resolution)


def test_tails_that_cannot_be_are_bugs() -> None:
    for cap in (0, 2**48):
        with pytest.raises(ValueError, match="cap"):
            Tail(weight_cap=cap, slots=())
    with pytest.raises(ValueError, match="same name"):
        Tail(weight_cap=1, slots=(SHIFT, SHIFT))
    with pytest.raises(ValueError, match="accuracy"):
        Tail(weight_cap=1, slots=(SHIFT,)).encode(1, {"accuracy": 1.0})
