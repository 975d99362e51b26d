"""What a layer brings so that its gradient can be taken unit by unit, and which layers do.

A *unit* is what one gradient is clipped for: a patient with all their images and augmented copies.
Batches are unit-major: axis 0 of everything that reaches a layer is ``units * copies``, the copies
of one unit next to each other.

A package that brings a model with an own layer announces the layer's class with
:func:`register_layer`; :func:`~wardround.client.train.per_sample.preflight.preflight` holds what it
computes against plain automatic differentiation before a study trains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch.autograd.function import once_differentiable

from wardround.client.train.per_sample.products import Products

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from wardround.client.train.per_sample.contributions import Contributions

Precision = Literal["low", "full", "input"]
"""What a layer computes in under automatic mixed precision: the low type, float32, or its input's type."""

LAYERS: Final[dict[type[nn.Module], Layer]] = {}
"""Supported layers by their exact class: a subclass may compute something else."""


class Sink:
    """Where one layer's gradients go during a recording.

    Args:
        names: The layer's own name of each trainable parameter to its name in the model.
        found: What the recording has found.
    """

    def __init__(self, names: dict[str, str], found: Contributions) -> None:
        self.units = found.units
        self._names = names
        self._found = found

    def add(self, name: str, gradient: Tensor | Products) -> None:
        """Add to what the layer's parameter ``name`` has; frozen parameters are ignored.

        Args:
            name: The layer's own.
            gradient: ``[units, *shape]`` in the parameter's data type, or as products.
        """
        if name in self._names:
            self._found.add(self._names[name], gradient)

    def part(self, prefix: str) -> Sink:
        """The sink of a layer inside this one; ``prefix`` ends with a dot, or is empty."""
        names = {name.removeprefix(prefix): full for name, full in self._names.items() if name.startswith(prefix)}
        return Sink(names, self._found)


class Layer(ABC):
    """How one class of layer is computed while it records.

    Attributes:
        parameters: Names of the parameters that the layer may own; another name is refused.
    """

    parameters: tuple[str, ...] = ("weight", "bias")

    def refusal(self, module: nn.Module) -> str | None:
        """Why this layer, as it is configured, cannot be recorded; None if it can."""
        del module
        return None

    @abstractmethod
    def call(self, module: nn.Module, sink: Sink, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - a module's forward may take anything
        """Stand in for ``module.forward``: the same output, and a backward pass that fills ``sink``."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the backward pass of one call works with.

    Attributes:
        module: The layer.
        units: Of the batch.
        kept: What the forward pass kept.
        gradient: Of the output, ``[units * copies, ...]``.
        wants_input: Whether anything before the layer needs its gradient.
        wanted: Names of the trainable parameters.
    """

    module: nn.Module
    units: int
    kept: tuple[Tensor, ...]
    gradient: Tensor
    wants_input: bool
    wanted: frozenset[str]


class SimpleLayer(Layer):
    """A layer of one input tensor, whose formulas are written down.

    Attributes:
        precision: What it computes in under automatic mixed precision.
    """

    precision: Precision = "low"

    def call(self, module: nn.Module, sink: Sink, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - as in Layer
        """Take the one input and record."""
        (inputs,) = (*args, *kwargs.values())
        return self.record(module, sink, inputs)

    def record(self, module: nn.Module, sink: Sink, inputs: Tensor, *options: object) -> Tensor:
        """Compute the layer; ``options`` are handed on to :meth:`forward`.

        Raises:
            ValueError: Axis 0 of the input is not the batch.
        """
        if inputs.ndim == 0 or inputs.shape[0] % sink.units:
            raise ValueError(f"a batch of {sink.units} units reached a layer with shape {tuple(inputs.shape)}")
        parameters = [getattr(module, name) for name in self.parameters]
        output: Tensor = _Recorded.apply(self, module, sink, options, inputs, *parameters)  # type: ignore[no-untyped-call]
        return output

    @abstractmethod
    def forward(
        self,
        module: nn.Module,
        inputs: Tensor,
        parameters: Sequence[Tensor | None],
        *options: Any,  # noqa: ANN401
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Output of the layer, and the tensors that :meth:`backward` needs.

        Args:
            module: The layer; only its settings are read.
            inputs: In the data type to compute in.
            parameters: In the order of ``parameters``, in the same data type; None where there is none.
            options: What :meth:`record` was given beside the input.
        """

    @abstractmethod
    def backward(self, step: Step) -> tuple[Tensor | None, Mapping[str, Tensor | Products]]:
        """Gradient of the input (None if it is not wanted), and each wanted parameter's.

        They are ``[units, *shape]``, or products of a weight whose shape is that of ``[O, I]``.
        """


class _Recorded(torch.autograd.Function):
    """One call of a :class:`SimpleLayer` in the graph.

    The parameters are inputs, so that a model whose images need no gradient has a backward pass;
    they get none back, and their ``.grad`` stays empty.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd hands arguments on by place
        ctx: Any,  # noqa: ANN401 - attributes of a graph node
        layer: SimpleLayer,
        module: nn.Module,
        sink: Sink,
        options: tuple[object, ...],
        inputs: Tensor,
        *parameters: Tensor | None,
    ) -> Tensor:
        dtype = _computed_in(inputs, layer.precision)
        if inputs.is_floating_point():
            parameters = tuple(None if parameter is None else _cast(parameter, dtype) for parameter in parameters)
        with _without_autocast(inputs.device.type):
            output, kept = layer.forward(module, _cast(inputs, dtype), parameters, *options)
        ctx.save_for_backward(*kept)
        ctx.layer, ctx.module, ctx.sink, ctx.input_dtype = layer, module, sink, inputs.dtype
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        layer: SimpleLayer = ctx.layer
        needed = ctx.needs_input_grad[_BEFORE_INPUT:]
        wanted = frozenset(name for name, need in zip(layer.parameters, needed[1:], strict=True) if need)
        kept = tuple(tensor.detach() for tensor in ctx.saved_tensors)  # what is found must not hold the graph
        step = Step(ctx.module, ctx.sink.units, kept, gradient, needed[0], wanted)
        with _without_autocast(gradient.device.type):
            of_input, found = layer.backward(step)
        for name, value in found.items():
            own = getattr(ctx.module, name).dtype
            ctx.sink.add(name, value if isinstance(value, Products) else _cast(value, own))
        if of_input is not None:
            of_input = _cast(of_input, ctx.input_dtype)
        return (None,) * _BEFORE_INPUT + (of_input,) + (None,) * len(layer.parameters)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The same as ``to``, which costs more than to ask."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _without_autocast(device: str) -> AbstractContextManager[object]:
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


_BEFORE_INPUT: Final = 4
"""Arguments of :meth:`_Recorded.forward` before the input."""


def _computed_in(inputs: Tensor, precision: Precision) -> torch.dtype:
    device = inputs.device.type
    if precision == "input" or not torch.is_autocast_enabled(device) or inputs.dtype == torch.float64:
        return inputs.dtype
    return torch.float32 if precision == "full" else torch.get_autocast_dtype(device)


def register_layer(kind: type[nn.Module], layer: Layer) -> None:
    """Announce how a class of layer is recorded.

    Args:
        kind: The exact class.
        layer: Stateless.

    Raises:
        ValueError: The class is known already.
    """
    if kind in LAYERS:
        raise ValueError(f"{kind.__name__} is registered already")
    LAYERS[kind] = layer
