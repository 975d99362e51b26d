"""Every command with its arguments and options, from the program's own parser."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click
import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = """\
# Command line

Generated from the program. Exit codes: 0 done, 1 refused or failed with an [error code](errors/README.md), 2 usage."""


def command_page(app: typer.Typer) -> str:
    """A Markdown page on every command of ``app``."""
    parts = [INTRODUCTION, *(_section(context) for context in contexts(app))]
    return "\n\n".join(parts) + "\n"


def contexts(app: typer.Typer) -> Iterator[click.Context]:
    """The program and each of its visible commands, depth first."""
    command = typer.main.get_command(app)
    yield from _walk(click.Context(command, info_name="wardround"))


def _walk(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from _walk(click.Context(command, parent=context, info_name=name))


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## `{context.command_path}`", _cell(command.help or ""), f"```text\n{usage}\n```"]
    rows = [_row(parameter, context) for parameter in command.get_params(context)]
    if any(rows):
        parts.append("\n".join(["| | meaning | default |", "|---|---|---|", *filter(None, rows)]))
    return "\n\n".join(part for part in parts if part)


def _row(parameter: click.Parameter, context: click.Context) -> str:
    if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
        return ""
    record = parameter.get_help_record(context)
    shown = record[0] if record and isinstance(parameter, click.Option) else parameter.make_metavar(context)
    meaning = getattr(parameter, "help", None) or ""
    return f"| `{_cell(shown)}` | {_cell(meaning)} | {_default(parameter)} |"


def _default(parameter: click.Parameter) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    if default is None or callable(default) or default in (False, (), [], ""):
        return ""
    return f"`{default}`"


def _cell(text: str) -> str:
    """Help text, safe in a table."""
    return inspect.cleandoc(text).replace("|", "\\|")
