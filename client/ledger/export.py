"""The ledger outside its file: for the data-protection officer, who can check it without this hospital's computers.

The JSON form holds every event word by word with its digest, so that the chain can be checked again; patients appear
in it as the digest and size of their cohort. The CSV form is for spreadsheets: the same, but nothing can be checked.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wardround.client.ledger.events import START, Event, chained, parse_event
from wardround.common.errors import WardroundError
from wardround.common.privacy.witness import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT: Final = "wardround privacy ledger"
_COLUMNS: Final = (
    "sequence", "at", "kind", "run", "study", "round", "computation", "cohort", "patients", "rate", "multiplier",
    "steps", "rounds", "epsilon", "delta", "admin", "reason", "incarnation", "digest",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t")


class _Exported(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sequence: int
    digest: Digest
    event: Event


class Export(BaseModel):
    """The JSON form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["wardround privacy ledger"]
    schema_: Literal[1] = Field(alias="schema")
    events: Annotated[tuple[_Exported, ...], Field(min_length=1)]


def as_json(contents: Iterable[tuple[bytes, bytes]]) -> str:
    """Every event with its digest.

    Args:
        contents: Content and digest of every event, in order.
    """
    events = [
        {"sequence": number, "digest": digest.hex(), "event": json.loads(content)}
        for number, (content, digest) in enumerate(contents, start=1)
    ]
    return json.dumps({"format": FORMAT, "schema": 1, "events": events}, ensure_ascii=False, indent=1) + "\n"


def as_csv(contents: Iterable[tuple[bytes, bytes]]) -> str:
    """One line an event. Text that a spreadsheet would take for a formula has an apostrophe before it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for number, (content, digest) in enumerate(contents, start=1):
        writer.writerow({"sequence": number, "digest": digest.hex(), **_flat(json.loads(content))})
    return text.getvalue()


def check_export(text: bytes) -> tuple[int, str]:
    """Check the chain of an export.

    Returns:
        Number of events, and the digest of the last one.

    Raises:
        WardroundError: WR-1811, it is no export, or events were changed, removed or added.
    """
    try:
        export = Export.model_validate_json(text)
    except ValidationError:
        raise WardroundError("WR-1811", "The file is not the JSON export of a ledger.", fix=_AGAIN) from None
    digest = START
    for number, item in enumerate(export.events, start=1):
        content = item.event.canonical()
        digest = chained(digest, content)
        if item.sequence != number or item.digest != digest.hex() or parse_event(content) != item.event:
            raise WardroundError("WR-1811", f"Event {number} of the export was changed or removed.", fix=_AGAIN)
    if export.events[0].event.kind != "opened":
        raise WardroundError("WR-1811", "The export does not begin where a ledger begins.", fix=_AGAIN)
    return len(export.events), digest.hex()


_AGAIN: Final = "Ask the hospital to export the ledger again."


def _flat(event: dict[str, Any]) -> dict[str, Any]:
    """An event's fields without nesting."""
    bound = event.get("limit") or event.get("lost") or {}
    fields = {**event, **(event.get("mechanism") or {}), **bound}
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
        for name, value in fields.items()
    }
