"""What a phantom cohort is: patients drawn from anatomy, for machines without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from wardround.common.study import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


class Phantom(Section):
    """The ``[simulation.phantom]`` table.

    Attributes:
        kind: ``chest`` draws frontal chest radiographs, ``organ`` volumes of an abdominal organ.
        size: Pixels or voxels in each axis.
        images_per_patient: Fewest and most images of one patient, pose and breath differing.
        seed: Salt of every drawing; two cohorts with the same seed are equal.
    """

    kind: Literal["chest", "organ"]
    size: tuple[Annotated[int, Field(ge=16, le=512)], ...]
    images_per_patient: tuple[Annotated[int, Field(ge=1, le=64)], Annotated[int, Field(ge=1, le=64)]] = (1, 1)
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.size) != (2 if self.kind == "chest" else 3):
            raise ValueError("size needs two numbers for chest, three for organ")
        if self.images_per_patient[0] > self.images_per_patient[1]:
            raise ValueError("images_per_patient is the fewest, then the most")
        return self


class CaseMix(Section):
    """Which lesions those patients of a chest phantom have who have any; probabilities that sum to 1.

    Attributes:
        nodule: A nodule alone.
        opacity: An opacity alone.
        both: One of each.
    """

    nodule: Annotated[float, Field(ge=0, le=1)] = 0.4
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.4
    both: Annotated[float, Field(ge=0, le=1)] = 0.2

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.nodule + self.opacity + self.both - 1) > 1e-9:
            raise ValueError("nodule, opacity and both must sum to 1")
        return self


@dataclass(frozen=True, slots=True)
class Cohort:
    """The drawn images of one hospital, before its scanner.

    Attributes:
        images: ``[N, *size]`` float32 in 0 to 1.
        patients: ``[N]`` index of the patient of each image.
        findings: Column name to ``[N]`` 0/1, the truth about each image.
        masks: ``[N, *size]`` uint8 label map, None when the phantom has no structures to outline.
    """

    images: NDArray[np.float32]
    patients: NDArray[np.int64]
    findings: Mapping[str, NDArray[np.int64]]
    masks: NDArray[np.uint8] | None
