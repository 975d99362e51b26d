"""The demonstration: the chest X-ray study, shortened so that it ends within two minutes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardround.simulations.scenario import load_scenario

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.scenario import Scenario

SHORTER: Final = {
    "cxr": ("training.epochs=6", "training.rounds=18", "selection.ema_decay=0.83"),
    "phantom-cxr": (),
}
"""What is shortened; leaving hospitals out is left to the full study."""

COMMON: Final = ("evaluation.bootstrap=1000", 'simulation.arms=["federated", "centralised", "local"]')


def demo_scenario(data: Path | None) -> Scenario:
    """Real images when a data folder is given or ``WARDROUND_DATA`` is set, phantoms otherwise."""
    name = "cxr" if data is not None or os.environ.get("WARDROUND_DATA") else "phantom-cxr"
    return load_scenario(name, (*COMMON, *SHORTER[name]))
