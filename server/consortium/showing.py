"""Sites and studies as plain facts for programs and as tables for people."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from wardround.common.crypto.signing import fingerprint
from wardround.common.errors import WardroundError
from wardround.server.lock import is_served

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.ids import SiteId
    from wardround.common.roster import SignedRoster
    from wardround.common.wire.federation import Report
    from wardround.server.consortium.consortium import Consortium
    from wardround.server.store import RunRow, SiteRow, Store, StudyRow

NOTE_SECONDS: Final = 30
"""How often a running coordinator writes down that a site was heard."""

_DATE: Final = len("2026-01-01")
_STYLES: Final = {"member": "green", "revoked": "red", "approved": "green", "rejected": "red", "withdrawn": "red"}


def day(moment: int | None) -> str:
    """A moment as people read it, UTC."""
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def heard_sites(consortium: Consortium) -> dict[SiteId, Report | None]:
    """What each member said last of itself, of those that a running coordinator hears; nothing of anybody else.

    When a site was heard is written down every :data:`NOTE_SECONDS`, so a silent site stays in here that much longer.
    """
    if not is_served(consortium.path):
        return {}
    oldest = consortium.store.clock() - consortium.settings.runs.silent_seconds - NOTE_SECONDS
    rows = [row for row in consortium.store.sites() if row.state == "member" and (row.heard_at or 0) >= oldest]
    return {row.name: row.report for row in rows}


def site_facts(consortium: Consortium) -> list[dict[str, Any]]:
    """Every site with its valid certificates and its open invite; what its agent does only while it is heard."""
    heard = heard_sites(consortium)
    return [_site_facts(consortium.store, row, heard) for row in consortium.store.sites()]


def _site_facts(store: Store, row: SiteRow, heard: dict[SiteId, Report | None]) -> dict[str, Any]:
    now, newest, report = store.clock(), store.newest_roster(), heard.get(row.name)
    invites = [invite for invite in store.invites() if invite.site == row.name and invite.open(now)]
    return {
        "site": row.name,
        "label": row.label,
        "state": row.state,
        "fingerprint": row.identity and fingerprint(bytes.fromhex(row.identity)),
        "joined_at": row.joined_at,
        "revoked_at": row.revoked_at,
        "reason": row.reason,
        "certificates": [
            {"hash": found.hash, "until": found.until} for found in store.certificates(row.name) if found.valid(now)
        ],
        "invited_until": invites[-1].until if invites else None,
        "heard_at": row.heard_at,
        "release": row.release,
        "roster": row.roster,
        "roster_current": bool(newest is not None and row.roster == newest.roster.version),
        "heard": row.name in heard,
        "report": report and report.model_dump(mode="json"),
    }


def study_facts(consortium: Consortium) -> list[dict[str, Any]]:
    """Every study with the newest decision of each of its sites, and its runs."""
    store = consortium.store
    runs = store.runs()
    return [
        {
            "study": row.id,
            "name": row.name,
            "title": row.title,
            "by": row.by,
            "why": row.why,
            "proposed_at": row.proposed_at,
            "withdrawn": row.withdrawn,
            "withdrawal": _withdrawal(consortium, row),
            "sites": dict.fromkeys(row.sites)
            | {
                found.site: {
                    "verdict": found.verdict,
                    "by": found.by,
                    "second": found.second,
                    "reason": found.reason,
                    "at": found.decided_at,
                }
                for found in consortium.decisions(row.id)
            },
            "runs": [run_facts(run) for run in runs if run.study == row.id],
        }
        for row in store.studies()
    ]


def _withdrawal(consortium: Consortium, row: StudyRow) -> dict[str, Any] | None:
    """Who withdrew a study, when and why; None: nobody did."""
    if not row.withdrawn:
        return None
    said = row.signed.verified(consortium.authority.public.hex())
    return {"by": said.by, "at": said.at, "why": said.why}


def run_facts(row: RunRow) -> dict[str, Any]:
    """A run."""
    return asdict(row)


def show_sites(facts: list[dict[str, Any]], roster: SignedRoster | None) -> None:
    """A table of sites."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = "No roster yet" if roster is None else f"Roster {roster.roster.version}: {roster.roster.fingerprint}"
    console = Console()
    columns = ("site", "state", "roster accepted", "certificate until", "last heard", "agent")
    table = Table(*columns, title=Text(title), title_justify="left", caption="Times: UTC.", caption_justify="left")
    for row in facts:
        report = row["report"] or {}
        until = max((item["until"] for item in row["certificates"]), default=None)
        silent = "not heard" if row["state"] == "member" and not row["heard"] else None
        agent = " ".join(filter(None, (row["release"], silent, report.get("state"), report.get("reason"))))
        times = (day(until)[:_DATE], day(row["heard_at"]).removesuffix(" UTC"))
        cells = (row["site"], row["state"], _accepted(row), *times, agent)
        table.add_row(*(Text(cell, style=_STYLES.get(cell, ""), overflow="fold") for cell in cells))
    console.print(table)
    for row in facts:
        label = f" ({row['label']})" if row["label"] else ""
        key = row["fingerprint"] or "no key yet"
        console.print(f"{row['site']}{label}: {key}", markup=False, highlight=False, soft_wrap=True)


def _accepted(row: dict[str, Any]) -> str:
    """Which roster people at a member have accepted, as its agent said last."""
    if row["state"] != "member":
        return ""
    if not row["roster"]:
        return "none yet"
    return f"{row['roster']}, {'current' if row['roster_current'] else 'behind'}"


def show_studies(facts: list[dict[str, Any]]) -> None:
    """A table of studies for each with its decisions and runs."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not facts:
        console.print("No study was proposed yet: wardround coordinator propose STUDY --by NAME", markup=False)
    for row in facts:
        console.print(f"{row['name']}  {row['study']}", style="bold", markup=False)
        console.print(f"{row['title']}\nproposed by {row['by']}, {day(row['proposed_at'])}", markup=False)
        if row["withdrawn"]:
            said = row["withdrawal"]
            why = f" ({said['why']})" if said["why"] else ""
            words = f"WITHDRAWN by {said['by']}, {day(said['at'])}{why}: nobody can approve or start it."
            console.print(words, style="bold red", markup=False)
        table = Table("site", "decision", "by", "when", "reason")
        for site, decision in row["sites"].items():
            found = decision or {"verdict": "none yet", "by": "", "second": None, "at": None, "reason": ""}
            people = " and ".join(filter(None, (found["by"], found["second"])))
            cells = (site, found["verdict"], people, day(found["at"]), found["reason"])
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
        console.print(table)
        for run in row["runs"]:
            console.print(f"run {run['id']}: {run['state']}, round {run['committed']}. {run['words']}", markup=False)


def write_answer(path: Path, content: bytes) -> None:
    """Write a new file for people to pass on; a file that is there is not replaced.

    Raises:
        WardroundError: WR-1506, it is there already, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise WardroundError("WR-1506", f"{path.name} cannot be written: {error.strerror}.") from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)
