"""The coordinator's database: SQLite in its folder, or PostgreSQL.

In the order in which data passes: :mod:`tables` and ``migrations`` (what there is), :mod:`upgrade` (bring it up to
date), :mod:`database` (transactions), :mod:`members` and :mod:`store` (what is asked and written), :mod:`rows` (what
comes back), :mod:`opening` (all of it from a URL).
"""

from wardround.server.store.opening import open_store
from wardround.server.store.rows import (
    OPEN_RUNS,
    CertificateRow,
    DecisionRow,
    EventRow,
    InviteRow,
    RunRow,
    RunState,
    SiteRow,
    SiteState,
    StudyRow,
    Verdict,
)
from wardround.server.store.store import Store

__all__ = [
    "OPEN_RUNS",
    "CertificateRow",
    "DecisionRow",
    "EventRow",
    "InviteRow",
    "RunRow",
    "RunState",
    "SiteRow",
    "SiteState",
    "Store",
    "StudyRow",
    "Verdict",
    "open_store",
]
