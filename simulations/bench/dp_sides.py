"""What ``bench dp`` measures in processes of its own: steps in turn, memory, and the error in float64."""

from __future__ import annotations

import resource
import time
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import torch

from wardround.client.train.device import keep_freed_memory
from wardround.client.train.per_sample import PerSample
from wardround.simulations.bench.dp_peers import functorch, ghost, hooks
from wardround.simulations.bench.dp_steps import build, draw_batch, loss_of, noise, ours, plain
from wardround.simulations.bench.secagg_sides import one_core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from wardround.simulations.bench.dp_steps import Side

MULTIPLIER: Final = 1.0
SIDES: Final[Mapping[str, Side]] = {
    "ours": ours,
    "nonprivate": plain,
    "noise": noise,
    "hooks": hooks,
    "ghost": ghost,
    "functorch": functorch,
}
OPACUS: Final = ("hooks", "ghost")
EXACTNESS_UNITS: Final = 3
"""Units of the batch on which the error is measured, with two images each."""


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """One of the three, as ``settings["what"]`` says: ``steps``, ``peak`` or ``error``."""
    torch.set_num_threads(1)
    one_core()
    keep_freed_memory()  # as a hospital does; the peers have it, too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about hooks and secure noise; what is used is said in the remarks
        return {"steps": steps, "peak": peak, "error": error}[settings["what"]](settings)


def steps(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Processor seconds of each side's steps, by case, the sides in turn; one unmeasured step of each first."""
    found = {}
    for case, (name, units, size, sides) in settings["cases"].items():
        calls = {side: _step(side, name, units, tuple(size)) for side in present(sides)}
        seconds: dict[str, list[float]] = {side: [] for side in calls}
        for repeat in range(settings["repeats"] + 1):
            for side, call in calls.items():
                began = time.process_time()
                call()
                if repeat:
                    seconds[side].append(time.process_time() - began)
        found[case] = seconds
    return found


def present(sides: list[str]) -> list[str]:
    """Those that can be measured here."""
    return [side for side in sides if side not in OPACUS or find_spec("opacus") is not None]


def peak(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Most memory that a side's steps, their preparation included, take beyond model and images, MB (10^6 bytes)."""
    name, units, size = settings["case"]
    model, (images, targets) = build(name, tuple(size)), draw_batch(name, units, tuple(size))
    before = _resident()
    step = SIDES[settings["side"]](model, images, targets, loss_of(name), MULTIPLIER)
    for _ in range(settings["repeats"]):
        step()
    return {"peak_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6}


def error(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Largest relative error of each model's weighted sums and norms against one backward pass a unit, float64."""
    return {name: largest_error(name, tuple(size)) for name, size in settings["models"].items()}


def largest_error(name: str, size: tuple[int, ...]) -> float:
    """Of one model: the largest error of a parameter's sum or of a norm, over the largest norm of a gradient."""
    model, copies = build(name, size).double(), 2
    images, targets = draw_batch(name, EXACTNESS_UNITS * copies, size)
    images = images.double()
    loss = loss_of(name)
    alone = [_alone(model, images[part], targets[part], loss) for part in _parts(copies)]
    recorder = PerSample(model)
    with recorder.recording(EXACTNESS_UNITS):
        torch.autograd.backward(EXACTNESS_UNITS * loss(model(images), targets))
    norms, factors = recorder.norms(), torch.arange(1, EXACTNESS_UNITS + 1, dtype=torch.float64)
    sums = recorder.weighted_sum(factors)
    expected = torch.stack([torch.cat([each.flatten() for each in found.values()]).norm() for found in alone])
    errors = [(norms - expected).abs().max()]
    for parameter, total in sums.items():
        plainly = torch.stack([found[parameter] for found in alone])
        errors.append((total - torch.tensordot(factors, plainly, dims=1)).norm())
    return float(torch.stack(errors).max() / expected.max())


def _alone(
    model: nn.Module, images: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    trained = dict(model.named_parameters())
    found = torch.autograd.grad(loss(model(images), targets), list(trained.values()))
    return dict(zip(trained, found, strict=True))


def _parts(copies: int) -> list[slice]:
    return [slice(unit * copies, (unit + 1) * copies) for unit in range(EXACTNESS_UNITS)]


def _step(side: str, name: str, units: int, size: tuple[int, ...]) -> Callable[[], object]:
    images, targets = draw_batch(name, units, size)
    return SIDES[side](build(name, size), images, targets, loss_of(name), MULTIPLIER)


def _resident() -> int:
    """Memory of this process now, bytes."""
    with open("/proc/self/statm", encoding="ascii") as facts:  # noqa: PTH123
        return int(facts.read().split()[1]) * resource.getpagesize()
