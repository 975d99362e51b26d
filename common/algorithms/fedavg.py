"""Federated averaging (FedAvg).

McMahan, Moore, Ramage, Hampson, Agüera y Arcas: Communication-Efficient Learning of Deep Networks
from Decentralized Data, AISTATS 2017, algorithm 1, written as a weighted sum of updates.

1. The coordinator sends the global model w.
2. Site k trains w on its own data and gets w_k.
3. Site k sends its update d_k = w_k - w and its weight n_k (its training patients, or 1).
4. The coordinator sums n_k d_k and n_k over the sites that answered.
5. The coordinator steps: w <- w + eta * sum(n_k d_k) / sum(n_k).

With eta = 1 this equals averaging the models w_k with weights n_k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from wardround.common.vector import Vector


def site_update(local: Vector, received: Vector) -> Vector:
    """Step 3: turn the locally trained vector into the update, in place.

    Args:
        local: w_k, shape ``[P]``; overwritten with the update.
        received: w, shape ``[P]``.

    Returns:
        ``local``.
    """
    np.subtract(local, received, out=local)
    return local


def site_weight(weights: Literal["patients", "equal"], patients: int) -> float:
    """Step 3: the site's weight n_k: its number of training patients, or 1."""
    return float(patients) if weights == "patients" else 1.0


def server_step(model: Vector, total: Vector, weight: float, server_learning_rate: float) -> Vector:
    """Step 5: apply the weighted sum to the global model, in place.

    Args:
        model: w, shape ``[P]``; overwritten with the next global model.
        total: sum of n_k d_k, shape ``[P]``; used as scratch space.
        weight: sum of n_k, above 0.
        server_learning_rate: eta.

    Returns:
        ``model``.

    Raises:
        ValueError: ``weight`` is not above 0.
    """
    if not weight > 0:
        raise ValueError("the sum of weights must be above 0")
    total *= np.float32(server_learning_rate / weight)
    model += total
    return model
