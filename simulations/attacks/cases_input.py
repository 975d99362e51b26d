"""Attacks through what a hospital's training ends in: values that are no numbers, or too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.simulations.attacks.case import Case
from wardround.simulations.attacks.hospital import TOO_LARGE
from wardround.simulations.attacks.lab import Gain
from wardround.simulations.attacks.weakened import CLIPPED, FINITE

if TYPE_CHECKING:
    from wardround.simulations.attacks.lab import Lab


def _opened(lab: Lab) -> int:
    """The first value of the opened sum, as a signed number of steps."""
    view = lab.uploaded(lab.first_session())
    view.open_set(lab.positions(), lab.quorum())
    total = view.total(lab.positions())
    if not np.array_equal(total, lab.truth(lab.sites)):
        raise RuntimeError("the sum was not opened")
    return int(total.view("<i2")[0])


def _others(lab: Lab) -> int:
    """What the others have in that place."""
    return int(lab.truth(lab.others).view("<i2")[0])


def not_finite(lab: Lab) -> Gain:
    """A crafted model makes the victim's update something that is no number."""
    reached = _opened(lab) == _others(lab)
    return Gain(reached, "a sum in which a value that is no number counts as zero, and nobody is told")


def too_large(lab: Lab) -> Gain:
    """A crafted model makes a value of the victim's update larger than the ring."""
    share = _opened(lab) - _others(lab)
    wrapped = share % 2**16 == TOO_LARGE % 2**16
    return Gain(wrapped, f"a sum that wraps: {TOO_LARGE} steps count as {share}")


CASES: Final = (
    Case(
        "not-finite-input",
        "the victim's training ends in a value that is no number",
        not_finite,
        "WR-1710",
        (FINITE,),
        victim_data="not finite",
    ),
    Case(
        "out-of-range-input",
        "the victim's training ends in a value beyond its bound",
        too_large,
        "",
        (CLIPPED,),
        harmless="clipped to the bound that the study fixes: the sum does not wrap",
        victim_data="too large",
    ),
)
