"""Policy holds while a study runs, too: outside of the site's hours, and with too few patients, nothing is trained."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fakes.private_runs import WatchedGrid, private_scenario
from fakes.promised_runs import Promised, promised_scenario
from fakes.scenarios import chest_scenario

from wardround.client.home import write_atomically
from wardround.client.policy import POLICY, Policy
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

    from flwr.app import Message

LENIENT = Policy(
    modes=("open", "private"), strengths=("active", "semi-honest"), colluding=0, runs_per_study=9, without_privacy=True
)


def hours(*, now: bool) -> str:
    """Two hours around this moment, or two that begin in six hours."""
    begin = datetime.now().astimezone() + timedelta(hours=-1 if now else 6)
    return f"{begin:%H:%M}-{begin + timedelta(hours=2):%H:%M}"


SCENARIOS = {
    "open": lambda: chest_scenario(training={"rounds": 1, "epochs": 1}),
    "open with a promise": lambda: promised_scenario(3, 1, trust="local"),
    "private": lambda: private_scenario(3, 1),
    "private with a promise": lambda: promised_scenario(3, 1),
}


@pytest.mark.parametrize("kind", SCENARIOS)
@pytest.mark.parametrize(
    ("kept", "broken", "words"),
    [({"hours": (hours(now=True),)}, {"hours": (hours(now=False),)}, "forbids training at"),
     ({"min_patients": 12}, {"min_patients": 1000}, "it allows 1000 or more")],
    ids=["hours", "min_patients"],
)  # fmt: skip
def test_a_site_whose_policy_forbids_it_does_not_train(
    kind: str, kept: dict[str, Any], broken: dict[str, Any], words: str, tmp_path: Path
) -> None:
    consortium = Promised.of(SCENARIOS[kind](), tmp_path)
    first, errors = consortium.study.site_ids[0], []

    def after(message: Message, reply: Message) -> None:
        if reply.has_error():
            errors.append((grid.site(message), message.metadata.message_type.partition(".")[0], reply.error.reason))

    def run(policy: dict[str, Any], name: str) -> None:
        changed = LENIENT.model_copy(update=policy)
        write_atomically(consortium.homes[first] / POLICY, changed.as_toml())
        consortium.coordinate(grid, name)

    grid = WatchedGrid(consortium, after=after)  # type: ignore[arg-type] # it asks for the homes alone
    run(kept, "kept")
    assert not errors
    with suppress(WardroundError):  # a private run may need every site
        run(broken, "broken")
    assert errors
    assert {(site, part) for site, part, _ in errors} == {(first, "train")}
    assert all("WR-1712" in reason and words in reason for *_, reason in errors)
