"""What a coordinator's staff see of a run: from the folder alone, so from any process, and nothing of any patient."""

from __future__ import annotations

import html
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from wardround.server.consortium.showing import heard_sites
from wardround.server.lock import is_served
from wardround.server.runs.keys import words_of_lost
from wardround.server.runs.orders import read_study

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from wardround.common.ids import SiteId
    from wardround.common.wire.federation import Report
    from wardround.server.consortium import Consortium
    from wardround.server.store import RunRow, SiteRow, Store

SHOWN_EVENTS: Final = 12
"""How many of the newest events are shown."""

REFRESH_SECONDS: Final = 5
"""How often a page that is open loads itself anew."""

_NOTHING_SAID: Final = "not heard yet"
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#1c1c1c}"
    "table{border-collapse:collapse;width:100%;margin:1em 0}td,th{border-bottom:1px solid #ccc;padding:.35em .6em;"
    "text-align:left;vertical-align:top}h1{font-size:1.4em}.bad{color:#a40000}.good{color:#1a6b1a}"
)
_GOOD: Final = frozenset({"completed", "idle", "working", "approved"})
_BAD: Final = frozenset({"failed", "refusing", "revoked", "rejected", "withdrawn"})


def overview(consortium: Consortium) -> dict[str, Any]:
    """Sites, runs and newest events."""
    store, heard = consortium.store, heard_sites(consortium)
    return {
        "consortium": consortium.name,
        "serving": is_served(consortium.path),
        "at": store.clock(),
        "sites": [_site(consortium, row, heard) for row in store.sites()],
        "runs": [_run(consortium, row) for row in store.runs()],
        "events": _newest_events(store),
    }


def _site(consortium: Consortium, row: SiteRow, heard: dict[SiteId, Report | None]) -> dict[str, Any]:
    report = heard.get(row.name)
    studies = [study for study in consortium.store.studies() if row.name in study.sites]
    decided = {
        study.id: {
            "name": study.name,
            "withdrawn": study.withdrawn,
            "verdict": next(
                (found.verdict for found in consortium.decisions(study.id) if found.site == row.name), None
            ),
        }
        for study in studies
    }
    return {
        "site": row.name,
        "label": row.label,
        "registered": row.state,
        "decisions": decided,
        "doing": report.state if report is not None else None,
        "what": report.what if report is not None else None,
        "run": report.run if report is not None else None,
        "reason": report.reason if report is not None else None,
        "heard": row.name in heard,
        "heard_at": row.heard_at,
    }


def _run(consortium: Consortium, row: RunRow) -> dict[str, Any]:
    study = consortium.store.study(row.study)
    lost = "" if study is None else words_of_lost(consortium, row, lambda: read_study(consortium, study))
    return {
        "run": row.id,
        "study": None if study is None else study.name,
        "hash": row.study,
        "state": row.state,
        "committed": row.committed,
        "without": list(row.without),
        "words": "; ".join(filter(None, (row.words, lost))),
        "changed_at": row.changed_at,
    }


def _newest_events(store: Store) -> list[dict[str, Any]]:
    return [
        {"at": found.at, "kind": found.kind, "site": found.site, "run": found.run, "words": found.words}
        for found in store.newest_events(SHOWN_EVENTS)
    ]


def tables(facts: dict[str, Any]) -> list[Table]:
    """The overview for a terminal."""
    from rich.table import Table
    from rich.text import Text

    found = []
    for title, heads, rows in _rows(facts):
        table = Table(*heads, title=Text(title), title_justify="left", expand=True)
        for row in rows:
            table.add_row(*(Text(cell, style=_style(cell, "green", "red")) for cell in row))
        found.append(table)
    return found


def page(facts: dict[str, Any]) -> bytes:
    """The overview as a page that loads itself anew every few seconds; it needs nothing but itself."""
    parts = [_html_table(*part) for part in _rows(facts)]
    title = html.escape(f"{facts['consortium']}: runs")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1><p>{html.escape(headline(facts))}</p>{''.join(parts)}</body></html>\n"
    ).encode()


def headline(facts: dict[str, Any]) -> str:
    """One line: whether a coordinator serves, and when this was."""
    serving = "The coordinator serves." if facts["serving"] else "No coordinator serves: wardround coordinator serve"
    return f"{serving} {moment(facts['at'])}"


def _rows(facts: dict[str, Any]) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    runs: list[tuple[str, ...]] = [
        (row["run"], row["study"] or "", row["state"], str(row["committed"]), row["words"]) for row in facts["runs"]
    ]
    sites: list[tuple[str, ...]] = [
        (
            row["site"],
            row["registered"],
            _decisions(row["decisions"]),
            row["doing"] or _silent(row),
            " ".join(filter(None, (row["what"], row["run"], row["reason"]))),
            moment(row["heard_at"]) if row["heard_at"] else _NOTHING_SAID,
        )
        for row in facts["sites"]
    ]
    events: list[tuple[str, ...]] = [
        (moment(row["at"]), row["kind"], row["site"] or row["run"] or "", row["words"]) for row in facts["events"]
    ]
    return [
        ("Runs", ("run", "study", "state", "rounds", "what"), runs),
        ("Sites", ("site", "registered", "studies", "agent", "at work on", "last heard"), sites),
        ("Newest events", ("when", "what", "who", "words"), events),
    ]


def _silent(row: dict[str, Any]) -> str:
    return "not heard" if row["registered"] == "member" and not row["heard"] else ""


def _decisions(decided: dict[str, dict[str, Any]]) -> str:
    """What a site decided about each study; of studies with one name the hash tells which."""
    names = [found["name"] for found in decided.values()]
    told = []
    for study, found in decided.items():
        short = f" ({study.removeprefix('sha256:')[:8]})" if names.count(found["name"]) > 1 else ""
        verdict = "withdrawn by the coordinator" if found["withdrawn"] else found["verdict"] or "no decision yet"
        told.append(f"{found['name']}{short}: {verdict}")
    return ", ".join(told)


def _html_table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(_html_cell(cell) for cell in row)}</tr>" for row in rows)
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _html_cell(cell: str) -> str:
    style = _style(cell, "good", "bad")
    return f'<td class="{style}">{html.escape(cell)}</td>' if style else f"<td>{html.escape(cell)}</td>"


def _style(cell: str, good: str, bad: str) -> str:
    return good if cell in _GOOD else bad if cell in _BAD else ""


def moment(at: int) -> str:
    """A moment as people read it, UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def keep_terminal(consortium: Consortium, *, seconds: float, once: bool) -> None:
    """Show the overview, and go on until somebody ends it."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    def shown() -> Group:
        facts = overview(consortium)
        return Group(Text(headline(facts)), *tables(facts))

    if once:
        Console().print(shown())
        return
    with suppress(KeyboardInterrupt), Live(shown(), auto_refresh=False) as live:
        while True:
            time.sleep(seconds)
            live.update(shown(), refresh=True)


def keep_page(consortium: Consortium, path: Path, *, seconds: float, once: bool) -> None:
    """Write the page, and go on until somebody ends it."""
    with suppress(KeyboardInterrupt):
        write_page(path, page(overview(consortium)))
        while not once:
            time.sleep(seconds)
            write_page(path, page(overview(consortium)))


def write_page(path: Path, content: bytes) -> None:
    """Replace the page as a whole: whoever loads it meanwhile gets the old or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
