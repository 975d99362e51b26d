"""Everything that the coordinator knows but keys, as one JSON document."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from sqlalchemy.engine import make_url

if TYPE_CHECKING:
    from wardround.server.consortium.consortium import Consortium

SCHEMA: Final = 1
_ALL: Final = 2**31 - 1


def exported(consortium: Consortium) -> dict[str, Any]:
    """The export, ready for JSON.

    Public keys, certificates and signed documents are in it as they are, so that anybody can verify them; private keys
    and the database's address are not, and invites are named by a hash that opens nothing.
    """
    from wardround.server.consortium import folder

    store, settings = consortium.store, consortium.settings
    plain = settings.model_dump(mode="json", by_alias=True, exclude={"database"})
    kind = make_url(folder.database_url(consortium.path, settings)).get_backend_name()
    with store.reading():
        studies = store.studies()
        return {
            "schema": SCHEMA,
            "exported_at": store.clock(),
            "settings": {**plain, "database": kind},
            "authority": consortium.authority.public.hex(),
            "sites": [_plain(row) for row in store.sites()],
            "certificates": [_plain(row) for site in store.sites() for row in store.certificates(site.name)],
            "invites": [_plain(row) for row in store.invites()],
            "rosters": [_plain(row) for row in store.rosters()],
            "studies": [_plain(row) for row in studies],
            "decisions": [_plain(row) for study in studies for row in store.decision_history(study.id)],
            "runs": [_plain(row) for row in store.runs()],
            "events": [_plain(row) for row in store.events(limit=_ALL)],
            "heads": [_plain(head) for site in store.sites() if (head := store.head(site.name)) is not None],
        }


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return list(value) if isinstance(value, tuple) else value
