"""What must survive a restart of an open study run: what it is about, what the sites described, what was committed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.wire.messages import Description
from wardround.server.rounds.records import CommittedRecords
from wardround.server.rounds.store import RecordFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.server.plan import RunPlan
    from wardround.server.rounds.committed import Committed

FOLDER: Final = "open"
"""Folder of the plan's output that holds them."""

_SUBJECT: Final = "subject"
_DESCRIBED: Final = "described"
_DESCRIPTIONS: Final = TypeAdapter(dict[SiteId, Description])


class NoRecords:
    """Of a run that is begun anew if it is interrupted."""

    def described(self) -> dict[SiteId, Description] | None:
        """What the sites said of their data before the first round; None before they did."""
        return None

    def keep_described(self, described: Mapping[SiteId, Description]) -> None:
        """Every site has described its data."""

    def committed(self) -> Committed | None:
        """The model with its history; None before the first round."""
        return None

    def keep(self, committed: Committed) -> None:
        """A round, or the last validation, is committed; durable on return."""


class OpenRecords(NoRecords):
    """The records of one open run that goes on where it was interrupted.

    Args:
        plan: What is run; its folder holds them.

    Raises:
        WardroundError: WR-1714, they are damaged, or of another study or run.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._store = RecordFolder(plan.out / FOLDER)
        self._committed = CommittedRecords(self._store, plan.study)
        fields = plan.context.model_dump(mode="json") | {"samples": plan.samples, "without": sorted(plan.without)}
        self._subject = json.dumps(fields, sort_keys=True).encode()
        if self._store.get(_SUBJECT) not in {None, self._subject}:
            raise WardroundError("WR-1714", "The interrupted run was of another study, or of other settings.")

    def described(self) -> dict[SiteId, Description] | None:
        """What the sites said of their data before the first round; None before they did."""
        found = self._store.get(_DESCRIBED)
        if found is None:
            return None
        try:
            return _DESCRIPTIONS.validate_json(found)
        except ValidationError as error:
            raise WardroundError("WR-1714", "The stored descriptions are damaged.") from error

    def keep_described(self, described: Mapping[SiteId, Description]) -> None:
        """Every site has described its data."""
        self._store.commit({_SUBJECT: self._subject, _DESCRIBED: _DESCRIPTIONS.dump_json(dict(described))})

    def committed(self) -> Committed | None:
        """The model with its history; None before the first round."""
        found = self._committed.committed()
        return None if found is None else found[0]

    def keep(self, committed: Committed) -> None:
        """A round, or the last validation, is committed; durable on return."""
        if self._store.get(_SUBJECT) is None:
            self._store.commit({_SUBJECT: self._subject})
        self._committed.keep(committed)
