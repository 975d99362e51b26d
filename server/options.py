"""What the coordinator's commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wardround.server.consortium import Consortium

DirOption = Annotated[
    Path, typer.Option("--dir", envvar="WARDROUND_COORDINATOR", help="The coordinator's folder.", show_default=False)
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def opened(folder: Path) -> Consortium:
    """The consortium of a folder; to be closed.

    Raises:
        WardroundError: WR-1914 or WR-1915, folder or database cannot be used.
    """
    from wardround.server.consortium import Consortium

    return Consortium(folder)
