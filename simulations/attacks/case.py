"""What an attack is: a script, the refusal that stops it, and the rules without which it succeeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from wardround.simulations.attacks.lab import Gain, Lab, Setting

Script = Callable[[Lab], Gain]

SITES: Final = (3, 5, 10, 50)
"""Sizes at which every attack is carried out, where it makes sense."""


@dataclass(frozen=True, slots=True)
class Case:
    """One attack.

    Attributes:
        name: As in the command.
        words: What the coordinator tries.
        script: Carries it out; ends with a :class:`WardroundError` where a hospital refuses.
        code: The refusal that is expected; empty where the attack is let run and comes to nothing.
        checks: The smallest set of rules without which it succeeds.
        more: Rules that have to go as well, by n: at n = 3 a set without the victim has two sites, so its size
            stops the attack, too.
        codes: Where the refusal is another one, by n.
        setting: How many sites are assumed to collude, and do.
        control: The same for the control, where that is what differs.
        senseless: Sizes at which the attack makes no sense, and why.
        harmless: Why it comes to nothing, where nothing is refused.
        victim_data: What the victim trains on.
    """

    name: str
    words: str
    script: Script
    code: str
    checks: tuple[str, ...] = ()
    more: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    codes: Mapping[int, str] = field(default_factory=dict)
    setting: Callable[[int], Setting] = Setting.usual
    control: Callable[[int], Setting] | None = None
    senseless: Mapping[int, str] = field(default_factory=dict)
    harmless: str = ""
    victim_data: str = "usual"

    def rules(self, sites: int) -> tuple[str, ...]:
        """The smallest set at this size."""
        return (*self.checks, *self.more.get(sites, ()))

    def lab(self, sites: int) -> Lab:
        """The place where every rule holds."""
        return Lab(self.setting(sites), (), self.victim_data)

    def weakened(self, sites: int, off: tuple[str, ...]) -> Lab:
        """The place where some rules do not."""
        return Lab((self.control or self.setting)(sites), off, self.victim_data)


SMALL: Final = {3: ("enough_survivors",)}
"""For :attr:`Case.more`."""
