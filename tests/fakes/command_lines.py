"""Command lines in documents, parsed as the program would parse them, without running anything."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import click
import pytest
import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

VARIABLES: Final = {"WARDROUND_HOME": "home", "WARDROUND_COORDINATOR": "coordinator"}


def shell_lines(text: str) -> Iterator[list[str]]:
    """The words of every command in the page's ``bash`` blocks, comments left out."""
    for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def commands_of(page: Path, program: str) -> list[list[str]]:
    """What a page gives to a program, in ``bash`` blocks; where its output goes is the shell's."""
    lines = [words[: words.index(">")] if ">" in words else words for words in shell_lines(page.read_text("utf-8"))]
    return [words[1:] for words in lines if words[0].rsplit("/", 1)[-1] == program]


def parse(words: Sequence[str]) -> None:
    """Parse a command line as the program would, without running it, where the variables of both handbooks are set.

    Raises:
        click.UsageError: The program would refuse it.
    """
    from wardround.simulations.cli import app

    rest = list(words)
    command: click.Command = typer.main.get_command(app)
    context = click.Context(command, info_name="wardround")
    with pytest.MonkeyPatch.context() as surroundings:
        for name, value in VARIABLES.items():
            surroundings.setenv(name, value)
        if rest == ["--help"]:
            return
        while isinstance(command, click.Group) and (rest or not command.invoke_without_command):
            name_found, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command, context = found, click.Context(found, parent=context, info_name=name_found)
        command.make_context(context.info_name, rest, parent=context.parent)


def run_command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    start = "from wardround.simulations.cli import main; main()"
    return subprocess.run([sys.executable, "-c", start, *words], capture_output=True, text=True, check=False)


def in_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *group: str
) -> Callable[..., tuple[int, str, str]]:
    """Calls the program's entry point: exit code, what it printed, what it complained of.

    Args:
        monkeypatch: Gives the arguments.
        capsys: Hears what is printed.
        group: Words that every command begins with.
    """
    from wardround.simulations import cli

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wardround", *group, *arguments])
        capsys.readouterr()
        code: int | str | None = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        assert isinstance(code, int | None)
        return code or 0, printed.out, printed.err

    return call
