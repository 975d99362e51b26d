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
from wardround.client.train.per_sample.contributions import add_weighted, squares
from wardround.client.train.per_sample.layers import LAYERS, Sink
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn


class PerSample:
    """Takes gradients unit by unit; the model is as it was whenever no recording is going on.

    A *unit* is a patient. A batch is unit-major, ``[units * copies, ...]``: the images and augmented
    copies of one unit are next to each other, the same number for every unit. With the loss
    ``units * mean over the batch``, unit i's gradient is that of the mean loss over its copies.

    Args:
        model: On any device; its parameters stay its own, and their ``.grad`` is left alone.

    Raises:
        WardroundError: As :func:`~wardround.client.train.per_sample.check.check_model`.
    """

    def __init__(self, model: nn.Module) -> None:
        check_model(model)
        self._model = model
        self._units = 0
        self._found: dict[str, Tensor] = {}

    @contextmanager
    def recording(self, units: int) -> Iterator[None]:
        """Record what runs inside: forward passes and one backward pass over batches of ``units`` units.

        What an earlier recording left is dropped, and so is everything when the block raises. A
        layer that is called several times adds up; a parameter that is not used counts as zero.

        Raises:
            WardroundError: WR-1803, at the end: a parameter was used outside the layer that owns it.
            RuntimeError: The model is being recorded already.
            ValueError: No units.
        """
        if units < 1:
            raise ValueError("a batch has at least one unit")
        self._units, self._found = units, {}
        recorded = self._recorded()
        gradients = {name: parameter.grad for name, parameter in self._model.named_parameters()}
        try:
            for module, names in recorded.items():
                module.forward = partial(LAYERS[type(module)].call, module, Sink(units, names, self._found))
            for parameter in self._model.parameters():
                parameter.grad = None
            yield
            self._check_all_recorded()
        except BaseException:
            self._found = {}
            raise
        finally:
            for module in recorded:
                vars(module).pop("forward", None)
            for name, parameter in self._model.named_parameters():
                parameter.grad = gradients[name]

    def norms(self) -> Tensor:
        """Euclidean norm of each unit's gradient over all trainable parameters, float64 ``[units]``."""
        total = torch.zeros(self._units, dtype=torch.float64, device=self._device())
        for gradients in self._found.values():
            total += squares(gradients)
        return total.sqrt()

    def alike(self) -> bool:
        """Whether all units have the same gradient, bit for bit."""
        return all(bool((found == found[0]).all()) for found in self._found.values())

    def weighted_sum(self, factors: Tensor, into: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Sum over the units of factor times gradient, and release the gradients.

        A unit whose factor is 0 takes no part, whatever is in its gradient.

        Args:
            factors: ``[units]``, finite.
            into: float64 tensors to add to, by name, contiguous, one for each trainable parameter; None for zeros.

        Returns:
            Name of each trainable parameter to a float64 tensor of its shape: those of ``into``, or new ones.

        Raises:
            ValueError: Not one factor for each unit, or one that is not finite.
        """
        if factors.shape != (self._units,) or not bool(torch.isfinite(factors).all()):
            raise ValueError(f"{self._units} finite factors are needed")
        factors = factors.to(self._device(), torch.float64)
        found, self._found, self._units = self._found, {}, 0
        sums = self.zeros() if into is None else dict(into)
        for name in list(found):
            add_weighted(found.pop(name), factors, sums[name])
        return sums

    def zeros(self) -> dict[str, Tensor]:
        """Float64 zeros of each trainable parameter's shape, in the model's order, one after another in new memory."""
        trained = {name: parameter for name, parameter in self._model.named_parameters() if parameter.requires_grad}
        whole = torch.zeros(sum(map(torch.numel, trained.values())), dtype=torch.float64, device=self._device())
        parts = torch.split(whole, [parameter.numel() for parameter in trained.values()])
        return {name: part.view(own.shape) for part, (name, own) in zip(parts, trained.items(), strict=True)}

    def _recorded(self) -> dict[nn.Module, dict[str, str]]:
        """The layers to record, with the names of their parameters in the model."""
        recorded = {}
        for name, module in self._model.named_modules():
            names = {local: f"{name}.{local}".removeprefix(".") for local in trained(module)}
            if names:
                if "forward" in vars(module):
                    raise RuntimeError("the model is being recorded already")
                recorded[module] = names
        return recorded

    def _check_all_recorded(self) -> None:
        for name, parameter in self._model.named_parameters():
            if parameter.grad is not None:
                raise WardroundError("WR-1803", f"The weight {name} is used outside the layer that owns it.")

    def _device(self) -> torch.device:
        return next(self._model.parameters()).device
