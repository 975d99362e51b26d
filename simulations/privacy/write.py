"""Write the privacy statement into a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.client.home import write_atomically
from wardround.client.statement.markdown import PAGE, markdown
from wardround.client.statement.statement import statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardround.client.statement.rows import Privacy
    from wardround.common.study import Study

STATEMENT: Final = "privacy.json"


def write_statement(folder: Path, study: Study, spent: Sequence[Privacy] = ()) -> None:
    """Write ``privacy.json`` and ``privacy.md`` of a study.

    Args:
        folder: Of the run.
        study: The study.
        spent: Rows of ``results.json``.

    Raises:
        WardroundError: WR-1201, WR-1202 or WR-1207, the model cannot be built.
    """
    found = statement(study, spent=spent)
    write_atomically(folder / STATEMENT, found.model_dump_json(by_alias=True, indent=1).encode())
    write_atomically(folder / PAGE, markdown(found).encode())
