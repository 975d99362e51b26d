"""Where an attack takes place: the hospitals, and a record of every message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.simulations.attacks.hospital import Hospital
from wardround.simulations.attacks.weakened import ANYTHING_GOES

if TYPE_CHECKING:
    from wardround.simulations.attacks.hospital import HospitalSpec


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message and what came back.

    Attributes:
        hospital: Which of the stage's hospitals.
        step: As :meth:`Hospital.answer` names it, or ``restart``.
        message: What was sent.
        model: The model that went with it; empty for none.
        answer: What came back; None for a refusal.
        code: The refusal's, and its sentence.
        words: See ``code``.
    """

    hospital: str
    step: str
    message: bytes = field(repr=False)
    model: bytes = field(repr=False)
    answer: bytes | None = field(repr=False)
    code: str = ""
    words: str = ""


class Stage:
    """Hospitals by name. Those that the coordinator plays itself, or that collude with it, do without any rule."""

    def __init__(self) -> None:
        self.hospitals: dict[str, Hospital] = {}
        self.exchanges: list[Exchange] = []

    def admit(self, name: str, spec: HospitalSpec) -> None:
        """Put a new hospital on the stage."""
        if name in self.hospitals:
            raise ValueError(f"{name} is on the stage already")
        self.hospitals[name] = Hospital(spec)

    def send(self, name: str, step: str, message: bytes = b"", model: bytes = b"") -> bytes:
        """Send one message and record what comes back.

        Raises:
            WardroundError: The hospital refused.
        """
        try:
            answer = self.hospitals[name].answer(step, message, model)
        except WardroundError as error:
            self.exchanges.append(Exchange(name, step, message, model, None, error.code, error.what))
            raise
        self.exchanges.append(Exchange(name, step, message, model, answer))
        return answer

    def restart(self, name: str) -> None:
        """End a hospital's process and begin another one over its store."""
        self.hospitals[name].restart()
        self.exchanges.append(Exchange(name, "restart", b"", b"", b""))

    def copy(self) -> Stage:
        """The same stage on its own from here on, as after a restart of all hospitals."""
        other = Stage()
        other.exchanges = list(self.exchanges)
        other.hospitals = {name: one.copy(one.spec.off) for name, one in self.hospitals.items()}
        return other

    def fork(self, off: tuple[str, ...]) -> Stage:
        """A copy with other rules switched off at the honest hospitals.

        Meant for a stage where nothing was refused: there the rules have changed no answer.
        """
        other = self.copy()
        for name, one in self.hospitals.items():
            if one.spec.off != ANYTHING_GOES:
                other.hospitals[name] = one.copy(off)
        return other
