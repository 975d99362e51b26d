"""Model state as one contiguous float32 vector, and the layout that says what lies where.

Clipping, quantising, masking and summing are in-place passes over the vector; the layout's hash
tells two sides whether they mean the same numbers. Norm layers or heads that stay local are simply
not in the layout.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import rfc8785

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of the model: its name, shape and number of values."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The order, names and shapes of the tensors in a vector."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Layout:
        """The layout of named arrays, in their order.

        Raises:
            TypeError: An array is not float32.
        """
        for name, array in arrays.items():
            if array.dtype != np.float32:
                raise TypeError(f"{name} is {array.dtype}, not float32")
        return cls(tuple(Entry(name, tuple(array.shape)) for name, array in arrays.items()))

    @cached_property
    def size(self) -> int:
        """Number of values in the vector."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def hash(self) -> str:
        """``sha256:`` of the canonical JSON of names and shapes."""
        described: list[Any] = [{"name": entry.name, "shape": list(entry.shape)} for entry in self.entries]
        return "sha256:" + hashlib.sha256(rfc8785.dumps(described)).hexdigest()

    def flatten(self, arrays: Mapping[str, NDArray[np.float32]]) -> Vector:
        """Copy named arrays into a new vector of shape ``[size]``.

        Raises:
            ValueError: Names, order or shapes differ from the layout.
        """
        if Layout.of(arrays) != self:
            raise ValueError("the arrays do not have this layout")
        vector = np.empty(self.size, dtype=np.float32)
        for entry, part in self._parts(vector):
            part[...] = arrays[entry.name]
        return vector

    def views(self, vector: Vector) -> dict[str, NDArray[np.float32]]:
        """Named views into ``vector``; nothing is copied.

        Raises:
            ValueError: ``vector`` is not float32 of shape ``[size]``.
        """
        if vector.dtype != np.float32 or vector.shape != (self.size,):
            raise ValueError(f"expected float32 of shape ({self.size},), got {vector.dtype} of {vector.shape}")
        return {entry.name: part for entry, part in self._parts(vector)}

    def _parts(self, vector: Vector) -> Iterator[tuple[Entry, NDArray[np.float32]]]:
        start = 0
        for entry in self.entries:
            yield entry, vector[start : start + entry.size].reshape(entry.shape)
            start += entry.size


def vector_hash(vector: Vector) -> str:
    """``sha256:`` of the vector's little-endian bytes: the identity of a model."""
    return "sha256:" + hashlib.sha256(vector.astype("<f4", copy=False).data).hexdigest()
