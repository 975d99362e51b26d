"""Which runs of a study in open mode a site has taken part in; policy limits them, as in the other modes.

Without a limit an approval of three rounds would be one of any number of rounds: the coordinator names the runs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from wardround.client.home import write_atomically
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.common.wire.base import RunContext

FOLDER: Final = "open"


def join_open_run(home: Home, question: RunContext) -> None:
    """Refuse a run or folds that policy does not allow; a new run is written down before anything of it leaves.

    Raises:
        WardroundError: WR-1712, another run of this study, or folds of the coordinator's choice, are not allowed here;
            WR-1714, the list of runs is damaged.
    """
    policy = home.policy
    policy.check_folds(question.folds)
    path = home.path / FOLDER / f"{question.study.removeprefix('sha256:')}.json"
    try:
        joined = json.loads(path.read_bytes()) if path.exists() else []
    except ValueError:
        joined = None
    if not isinstance(joined, list) or not all(isinstance(run, str) for run in joined):
        raise WardroundError("WR-1714", "The list of open runs of this study is damaged.")
    policy.check_run(question.run, joined)
    if question.run not in joined:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(path, json.dumps([*joined, question.run]).encode(), mode=0o600)
