"""Commands of the program, run as people run them: each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wardround.common.errors import REGISTRY, WardroundError
from wardround.simulations.deployed.leash import leashed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROGRAM: Final = (sys.executable, "-c", "from wardround.simulations.cli import main; main()")
"""The program of this installation, whether or not its folder is on the path."""

LONGEST_SECONDS: Final = 600.0

Told: TypeAlias = "Callable[[tuple[str, ...]], None]"
"""Is told every command before it runs."""


class Commands:
    """Runs commands.

    Args:
        environment: The whole environment of every command.
        told: Is told the words of each.
    """

    def __init__(self, environment: Mapping[str, str], told: Told) -> None:
        self.environment = dict(environment)
        self._told = told

    def run(self, *words: str) -> Any:  # noqa: ANN401 - the command's JSON document
        """Run a command with ``--json``; its answer. Raises what :meth:`quietly` raises."""
        return json.loads(self.quietly(*words, "--json"))

    def quietly(self, *words: str) -> str:
        """Run a command; what it printed.

        Raises:
            WardroundError: What the command was refused with; WR-1523, it failed otherwise, or took too long.
        """
        self._told(words)
        name = " ".join(words[:2])
        try:
            # The command is this program.
            done = subprocess.run(  # noqa: S603
                leashed([*PROGRAM, *words]),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=LONGEST_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise WardroundError("WR-1523", f"wardround {name} took longer than {LONGEST_SECONDS:g} s.") from None
        if done.returncode != 0:
            raise _refusal(name, done)
        return done.stdout


def _refusal(name: str, done: subprocess.CompletedProcess[str]) -> WardroundError:
    """The command's own refusal, or that it failed."""
    for text in (done.stdout, done.stderr):
        first = text.strip().partition("\n")[0]
        code = first.partition(":")[0]
        if code in REGISTRY:
            what = " ".join(text.strip().splitlines()[1:2]).strip()
            return WardroundError(code, f"wardround {name}: {what}")
        try:
            error = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            continue
        return WardroundError(error["code"], f"wardround {name}: {error['what']}", fix=error["fix"])
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return WardroundError("WR-1523", f"wardround {name} ended with {done.returncode}: {last[-300:]}")
