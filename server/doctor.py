"""``wardround coordinator doctor``: what a coordinator needs, checked one by one, and what to do about problems."""

from __future__ import annotations

import shutil
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.server.consortium import Consortium, folder
from wardround.server.consortium.showing import heard_sites
from wardround.server.files import check_private
from wardround.server.lock import is_served
from wardround.server.runs.orders import read_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAY: Final = 86_400
LEAST_FREE: Final = 2 << 30
"""Bytes of disk space below which a coordinator is warned."""

SOON_DAYS: Final = 14
LONG_SILENT: Final = 600
_SECRETS: Final = (folder.AUTHORITY_KEY, folder.CA_KEY, folder.SERVER_KEY)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        check: What was looked at.
        passed: Whether it is as it should be.
        words: What was found.
        fix: What to do; empty where nothing is to be done.
    """

    check: str
    passed: bool
    words: str
    fix: str = ""

    def facts(self) -> dict[str, object]:
        """For programs."""
        return asdict(self)


def examine(path: Path) -> list[Finding]:
    """Every check on a coordinator's folder; none changes anything."""
    try:
        with Consortium(path) as consortium:
            return [_kept(name, check, consortium) for name, check in _CHECKS.items()]
    except WardroundError as error:
        return [Finding("folder and database", False, f"{error.code}: {error.what}", error.fix)]


def show(findings: list[Finding]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "", "found", "what to do")
    for found in findings:
        verdict = Text("passed", style="green") if found.passed else Text("PROBLEM", style="red")
        table.add_row(Text(found.check), verdict, Text(found.words), Text(found.fix))
    Console().print(table)


def _kept(name: str, check: Callable[[Consortium], Iterator[Finding]], consortium: Consortium) -> Finding:
    """The first problem of a check, or that it passed."""
    try:
        found = list(check(consortium))
    except WardroundError as error:
        return Finding(name, False, f"{error.code}: {error.what}", error.fix)
    problem = next((item for item in found if not item.passed), None)
    return problem or (found[0] if found else Finding(name, True, "as it should be"))


def _problem(check: str, words: str, fix: str) -> Finding:
    return Finding(check, passed=False, words=words, fix=fix)


def _keys(consortium: Consortium) -> Iterator[Finding]:
    for name in _SECRETS:
        check_private(consortium.path / name)
    folder.read_key(consortium.path / folder.CA_KEY)
    folder.read_key(consortium.path / folder.SERVER_KEY)
    yield Finding("keys", passed=True, words="there, and readable by this account alone")


def _certificates(consortium: Consortium) -> Iterator[Finding]:
    now = consortium.store.clock()
    left = int(consortium.server_certificate.not_valid_after_utc.timestamp() - now) // DAY
    if left < SOON_DAYS:
        yield _problem("certificates", f"The gateway's certificate ends in {left} days.", "Start serve: it renews it.")
    for site in consortium.store.sites():
        until = [found.until for found in consortium.store.certificates(site.name) if found.valid(now)]
        if site.state == "member" and not until:
            words = f"{site.name} is a member without a valid certificate."
            yield _problem("certificates", words, f"wardround coordinator invite {site.name} --again")
    yield Finding("certificates", passed=True, words=f"the gateway's is valid for {left} days")


def _disk(consortium: Consortium) -> Iterator[Finding]:
    free = shutil.disk_usage(consortium.path).free
    if free < LEAST_FREE:
        yield _problem("disk", f"{free >> 20} MiB are free.", "Make room: rounds are committed to this disk.")
    yield Finding("disk", passed=True, words=f"{free >> 30} GiB free")


def _address(consortium: Consortium) -> Iterator[Finding]:
    host, _, port = consortium.settings.address.rpartition(":")
    try:
        socket.getaddrinfo(host.strip("[]"), port)
    except OSError:
        words = f"The name {host} does not resolve on this machine."
        yield _problem("address", words, "Check the name; hospitals reach the gateway by it.")
    yield Finding("address", passed=True, words=f"{consortium.settings.address} resolves")


def _serving(consortium: Consortium) -> Iterator[Finding]:
    if not is_served(consortium.path):
        yield _problem("process", "No coordinator runs on this folder.", "wardround coordinator serve")
        return
    host, _, port = consortium.settings.listen.rpartition(":")
    reached = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host)  # noqa: S104 - what the settings may say
    try:
        socket.create_connection((reached.strip("[]"), int(port)), timeout=3).close()
    except OSError:
        words = f"A coordinator runs, and nothing listens on {consortium.settings.listen}."
        yield _problem("process", words, "It may listen elsewhere (serve --listen); else look at its log.")
    yield Finding("process", passed=True, words=f"listens on {consortium.settings.listen}")


def _sites(consortium: Consortium) -> Iterator[Finding]:
    now, served, heard = consortium.store.clock(), is_served(consortium.path), heard_sites(consortium)
    members = [row for row in consortium.store.sites() if row.state == "member"]
    for row in members:
        if served and (row.heard_at is None or now - row.heard_at > LONG_SILENT):
            words = f"{row.name} was not heard for more than {LONG_SILENT // 60} minutes."
            yield _problem("sites", words, "Ask its staff for: wardround hospital doctor")
        report = heard.get(row.name)
        if report is not None and report.state == "refusing":
            words = f"{row.name} takes no part: {report.reason or 'no reason given'}."
            yield _problem("sites", words, "Ask its staff for: wardround hospital doctor")
    yield Finding("sites", passed=True, words=f"{len(members)} members")


def _studies(consortium: Consortium) -> Iterator[Finding]:
    for row in consortium.store.studies():
        digest = read_study(consortium, row).model.init
        if digest is not None and not (consortium.path / "weights" / f"{digest}.safetensors").exists():
            words = f"{row.name} begins with weights that are not in the folder weights/."
            yield _problem("studies", words, f"Put the file there as {digest}.safetensors.")
    yield Finding("studies", passed=True, words=f"{len(consortium.store.studies())} proposed")


def _runs(consortium: Consortium) -> Iterator[Finding]:
    for row in consortium.store.runs("failed"):
        fix = f"wardround coordinator resume {row.id} --by NAME, or stop it to leave it as it is."
        yield _problem("runs", f"{row.id} failed. {row.words}", fix)
    yield Finding("runs", passed=True, words=f"{len(consortium.store.runs(('waiting', 'running')))} not over")


_CHECKS: Final = {
    "keys": _keys,
    "certificates": _certificates,
    "disk": _disk,
    "address": _address,
    "process": _serving,
    "sites": _sites,
    "studies": _studies,
    "runs": _runs,
}
