"""The section of a study that says which model is trained, from which weights, and which parts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from wardround.common.errors import WardroundError
from wardround.common.study.fields import Name, Section

if TYPE_CHECKING:
    from collections.abc import Iterable

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a file, as ``sha256sum`` prints it."""

Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=256)]
"""The beginning of names of parameters, in whole parts between dots: ``features.1`` is not ``features.10``."""

Origin = Literal["public", "disjoint", "none", "overlapping"]


class ModelChoice(Section):
    """A model of the catalogue with its typed parameters (``wardround.common.models``).

    Attributes:
        name: Which model; installed packages may add models under ``wardround.models``.
        parameters: The model's own, by name; those not given keep the model's defaults.
        init: Begin with the weights of a ``model.safetensors`` of this SHA-256 instead of drawn ones. It holds every
            float32 tensor of the model in its shape, and no other; names under ``fresh`` are not looked at.
        trained: Beginnings of the names of what is trained, in whole parts between dots, such as ``head``. All else
            is frozen: it does not travel, and every hospital takes it from its own copy of the file. Absent:
            everything is trained. Needs ``init``.
        fresh: Beginnings of names that are drawn from the run's seed all the same, such as a head for other labels.
            They have to be trained. Needs ``init``.
        init_data: Whose data the weights were learnt from, as the study's author declares it: ``public``, nobody of
            any site of this study; ``disjoint``, other patients of its sites; ``none``, no patients, but random or
            drawn images; ``overlapping``, patients of this study. A study with a promise has to declare it, and is
            refused with ``overlapping``. Needs ``init``.
    """

    name: Name
    parameters: dict[str, bool | int | float | str | tuple[int, ...]] = Field(default_factory=dict)
    # Left out of the canonical form where they are not used: studies without them keep their id.
    init: Digest | None = Field(default=None, exclude_if=lambda value: value is None)
    trained: tuple[Prefix, ...] | None = Field(default=None, max_length=256, exclude_if=lambda value: value is None)
    fresh: tuple[Prefix, ...] = Field(default=(), max_length=256, exclude_if=lambda value: not value)
    init_data: Origin | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field in ("trained", "fresh", "init_data"):
            if self.init is None and getattr(self, field):
                raise ValueError(f"{field} says how to begin with a model that exists, and init names none")
        if self.trained is not None and not self.trained:
            raise ValueError("trained is empty, so that nothing is left to train; leave it out to train everything")
        frozen = [prefix for prefix in self.fresh if not self.travels(prefix)]
        if frozen:
            raise ValueError(f"fresh names {frozen[0]!r}, which is not trained: add it to trained")
        return self

    @property
    def freezes(self) -> bool:
        """Whether some of the model may be frozen, so that every hospital needs the file."""
        return self.trained is not None

    def travels(self, name: str) -> bool:
        """Whether a tensor of this name is trained, and so is part of the vector that travels."""
        return self.trained is None or begins(name, self.trained)

    def is_fresh(self, name: str) -> bool:
        """Whether a tensor of this name is drawn, whatever the file has."""
        return begins(name, self.fresh)

    def check_promise(self) -> None:
        """Refuse initial weights whose patients a promise would forget.

        Raises:
            WardroundError: WR-1819, what they were learnt from is not declared, or was patients of this study.
        """
        if self.init is None or self.init_data in {"public", "disjoint", "none"}:
            return
        if self.init_data is None:
            raise WardroundError("WR-1819", "The study does not say whose data its initial weights were learnt from.")
        raise WardroundError(
            "WR-1819",
            "The study declares that its initial weights were learnt from patients whom it makes a promise to: what "
            "that cost them is not in this promise.",
        )


def begins(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a name is one of the prefixes, or begins with one of them and a dot."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
