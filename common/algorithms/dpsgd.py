"""Joint DP-SGD: one noisy sum of clipped gradients over all hospitals a step.

Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang: Deep Learning with Differential Privacy, CCS 2016, algorithm
1, with its sum taken over hospitals inside secure aggregation: Fang, Dullerud, Lee, Kalyan, Krishnan, Wang: DeCaPH,
Decentralized, Collaborative and Privacy-preserving Machine Learning using Multi-hospital Data, 2024.

1. The coordinator sends the global model w.
2. Every hospital draws each of its patients with probability q; a drawn patient gives one gradient of norm C at most.
3. The hospitals' sums, each with its share of the noise, are added: G.
4. ``g = G / (q N)``, N a public number of patients.
5. The coordinator steps: ``w <- w - eta * optimizer(g)``. The optimizer's state knows noisy sums alone.

Adam is Kingma and Ba, ICLR 2015; AdamW decouples weight decay (Loshchilov and Hutter, ICLR 2019); SGD has momentum
without dampening. All three give the steps of PyTorch's optimizers of these names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.rounds.schedule import learning_rate

if TYPE_CHECKING:
    from wardround.common.study import Training
    from wardround.common.vector import Vector

BETAS: Final = (0.9, 0.999)
EPSILON: Final = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class OptimizerState:
    """What the coordinator's optimizer remembers.

    Args:
        steps: Steps taken.
        first: Momentum, or Adam's first moment, ``[P]``.
        second: Adam's second moment, ``[P]``; None for SGD.
    """

    steps: int
    first: Vector
    second: Vector | None


def initial_state(training: Training, size: int) -> OptimizerState:
    """The state before the first step of a model of ``size`` values."""
    second = None if training.optimizer == "sgd" else np.zeros(size, dtype=np.float32)
    return OptimizerState(0, np.zeros(size, dtype=np.float32), second)


def server_step(
    model: Vector, total: Vector, state: OptimizerState, *, denominator: float, training: Training, progress: float
) -> OptimizerState:
    """Steps 4 and 5.

    Args:
        model: w, ``[P]``; overwritten with the next global model.
        total: G, ``[P]``; used as scratch space.
        state: After the step before; its vectors are overwritten.
        denominator: q N, above 0.
        training: The optimizer and its settings.
        progress: Completed share of the rounds, from 0 up to but not including 1.

    Returns:
        The state after this step.

    Raises:
        ValueError: ``denominator`` is not above 0.
    """
    if not denominator > 0:
        raise ValueError("the expected number of patients must be above 0")
    total *= np.float32(1 / denominator)  # step 4
    rate = learning_rate(training, progress)
    decay = training.weight_decay
    if training.optimizer == "adamw":
        model *= np.float32(1 - rate * decay)
    elif decay:
        total += np.float32(decay) * model
    state = replace(state, steps=state.steps + 1)
    if state.second is None:
        return _sgd(model, total, rate, training.momentum, state)
    return _adam(model, total, rate, state)


def _sgd(model: Vector, gradient: Vector, rate: float, momentum: float, state: OptimizerState) -> OptimizerState:
    first = state.first
    first *= np.float32(momentum)
    first += gradient
    model -= np.float32(rate) * first
    return state


def _adam(model: Vector, gradient: Vector, rate: float, state: OptimizerState) -> OptimizerState:
    first, second = state.first, state.second
    if second is None:
        raise ValueError("Adam needs two moments")
    _towards(first, BETAS[0], gradient)
    _towards(second, BETAS[1], gradient * gradient)
    corrected = [1 - beta**state.steps for beta in BETAS]
    scale = np.sqrt(second / np.float32(corrected[1])) + np.float32(EPSILON)
    model -= np.float32(rate / corrected[0]) * first / scale
    return state


def _towards(moment: Vector, beta: float, value: Vector) -> None:
    """One step of an exponential moving average, in place."""
    moment *= np.float32(beta)
    moment += np.float32(1 - beta) * value
