"""One gradient for every patient from one backward pass.

1. :meth:`PerSample.recording`: the model's layers are put into a state in which a backward pass
   leaves ``[units, *shape]`` for every trainable parameter; the batched gradients of the parameters
   are never computed
2. :meth:`PerSample.norms`: the norm of each unit's whole gradient, float64
3. :meth:`PerSample.weighted_sum`: the sum with one factor for each unit, float64

Lee and Kifer, Scaling up Differentially Private Deep Learning with Fast Per-Example Gradient
Clipping, PoPETs 2021, and Rochette et al., Efficient Per-Example Gradient Computations in
Convolutional Neural Networks, 2019, take per-example gradients of convolutions through groups.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

from wardround.client.train.per_sample.check import check_model, trained
from wardround.client.train.per_sample.contributions import Contributions
from wardround.client.train.per_sample.layers import LAYERS, Sink
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn


class Sums(dict[str, "Tensor"]):
    """Float64 sums by parameter, of its shape, in the model's order; at first anything.

    Args:
        parameters: The trained ones.
        device: Where the sums are.

    Attributes:
        whole: All of them, one after another, ``[P]``; they are views of it.
    """

    def __init__(self, parameters: Mapping[str, Tensor], device: torch.device) -> None:
        sizes = [parameter.numel() for parameter in parameters.values()]
        self.whole = torch.empty(sum(sizes), dtype=torch.float64, device=device)
        parts = zip(parameters.items(), torch.split(self.whole, sizes), strict=True)
        super().__init__((name, part.view(parameter.shape)) for (name, parameter), part in parts)


class PerSample:
    """Takes gradients unit by unit; the model is as it was whenever no recording is going on.

    A *unit* is a patient. A batch is unit-major, ``[units * copies, ...]``: the images and augmented
    copies of one unit are next to each other, the same number for every unit. With the loss
    ``units * mean over the batch``, unit i's gradient is that of the mean loss over its copies.

    Args:
        model: On any device; its parameters stay its own, and their ``.grad`` is left alone. Its layers, and which
            parameters are frozen, stay as they are.

    Raises:
        WardroundError: As :func:`~wardround.client.train.per_sample.check.check_model`.
    """

    def __init__(self, model: nn.Module) -> None:
        check_model(model)
        self._parameters = dict(model.named_parameters())
        self._trained = [parameter.requires_grad for parameter in self._parameters.values()]
        self._recorded = {
            module: {local: f"{name}.{local}".removeprefix(".") for local in trained(module)}
            for name, module in model.named_modules()
            if trained(module) or _without_parameters(module)
        }
        self._found = self._nothing(0)

    @contextmanager
    def recording(self, units: int) -> Iterator[None]:
        """Record what runs inside: forward passes and one backward pass over batches of ``units`` units.

        What an earlier recording left is dropped, and so is everything when the block raises. A
        layer that is called several times adds up; a parameter that is not used counts as zero.

        Raises:
            WardroundError: WR-1803, at the end: a parameter was used outside the layer that owns it.
            RuntimeError: The model is being recorded already, or other parameters are frozen now.
            ValueError: No units.
        """
        if units < 1:
            raise ValueError("a batch has at least one unit")
        if any("forward" in vars(module) for module in self._recorded):
            raise RuntimeError("the model is being recorded already")
        if [parameter.requires_grad for parameter in self._parameters.values()] != self._trained:
            raise RuntimeError("other parameters are frozen than when the recorder was made")
        self._found = self._nothing(units)
        gradients = [parameter.grad for parameter in self._parameters.values()]
        try:
            for module, names in self._recorded.items():
                vars(module)["forward"] = partial(LAYERS[type(module)].call, module, Sink(names, self._found))
            for parameter in self._parameters.values():
                parameter.grad = None
            yield
            self._check_all_recorded()
        except BaseException:
            self._found = self._nothing(units)
            raise
        finally:
            for module in self._recorded:
                vars(module).pop("forward", None)
            for parameter, gradient in zip(self._parameters.values(), gradients, strict=True):
                parameter.grad = gradient

    def norms(self) -> Tensor:
        """Euclidean norm of each unit's gradient over all trainable parameters, float64 ``[units]``."""
        return self._found.norms()

    def alike(self) -> bool:
        """Whether all units have the same gradient, bit for bit."""
        return self._found.alike()

    def weighted_sum(self, factors: Tensor, into: Sums | None = None) -> Sums:
        """Sum over the units of factor times gradient, and release the gradients.

        A unit whose factor is 0 takes no part, whatever is in its gradient.

        Args:
            factors: ``[units]``, finite.
            into: What to add to; None for zeros.

        Returns:
            ``into``, or new sums.

        Raises:
            ValueError: Not one factor for each unit, or one that is not finite.
        """
        units = self._found.units
        if factors.shape != (units,) or not bool(torch.isfinite(factors).all()):
            raise ValueError(f"{units} finite factors are needed")
        sums = self._sums() if into is None else into
        found, self._found = self._found, self._nothing(0)
        found.add_to(sums, factors.to(self._device(), torch.float64), fresh=into is None)
        return sums

    def zeros(self) -> Sums:
        """Sums of nothing."""
        sums = self._sums()
        sums.whole.zero_()
        return sums

    def _sums(self) -> Sums:
        return Sums({name: own for name, own in self._parameters.items() if own.requires_grad}, self._device())

    def _nothing(self, units: int) -> Contributions:
        return Contributions(units, self._device())

    def _check_all_recorded(self) -> None:
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                raise WardroundError("WR-1803", f"The weight {name} is used outside the layer that owns it.")

    def _device(self) -> torch.device:
        return next((parameter.device for parameter in self._parameters.values()), torch.device("cpu"))


def _without_parameters(module: nn.Module) -> bool:
    """Whether its kind is recorded although it has nothing to train."""
    layer = LAYERS.get(type(module))
    return layer is not None and not layer.parameters and "forward" not in vars(module)
