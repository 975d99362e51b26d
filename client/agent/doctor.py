"""``wardround hospital doctor``: what has to hold before this hospital can take part, one check after the other.

Every check gives a sentence; one that fails also the remedy. Nothing is changed here (a file that is tried out is gone
at once), and nothing of the hospital leaves but a greeting to the coordinator.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from wardround.client.agent.status import is_running, read_status
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wardround.client.home import Home

SILENT_SECONDS: Final = 180.0
"""An agent that has not written its status for so long, although it runs, hangs."""

FREE_BYTES: Final = 1 << 30
_DAY: Final = 86_400
_SOON_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        passed: Whether it holds.
        words: What was found.
        code: Of what is wrong.
        fix: What to do.
    """

    check: str
    passed: bool
    words: str
    code: str | None = None
    fix: str | None = None


def examine(path: Path, *, network: bool = True) -> Iterator[Finding]:
    """All checks of a hospital's home folder, as they are done.

    Args:
        path: The folder.
        network: Whether to greet the coordinator too.
    """
    from wardround.client.home import Home

    try:
        home = Home(path)
    except WardroundError as error:
        yield _failed("home folder", error)
        return
    yield Finding("home folder", passed=True, words=f"It is the home of {home.site}.")
    checks: list[tuple[str, Callable[[Home], str]]] = [
        ("private files", _private_files),
        ("writing", _writable),
        ("policy", _policy),
        ("membership", _membership),
        ("certificate", _certificate),
        ("roster", _roster),
        ("data sets", _data_sets),
        ("privacy ledger", _ledger),
        ("processor", _processor),
        ("disk", _disk),
        ("agent", _agent),
    ]
    if network:
        checks.append(("coordinator", _coordinator))
    for name, check in checks:
        try:
            yield Finding(name, passed=True, words=check(home))
        except WardroundError as error:
            yield _failed(name, error)
        except OSError as error:  # the system says no: the other checks are done all the same
            reason = error.strerror or type(error).__name__
            what = f"This cannot be looked at, because a file cannot be read or written: {reason}."
            yield _failed(name, WardroundError("WR-1506", what))


def _failed(name: str, error: WardroundError) -> Finding:
    return Finding(name, passed=False, words=error.what, code=error.code, fix=error.fix)


def _private_files(home: Home) -> str:
    names = ("patient.key", "identity.key", "node.key", "tls/site.key", "roster.json")
    open_ = [name for name in names[:4] if (home.path / name).exists() and (home.path / name).stat().st_mode & 0o077]
    if open_:
        fix = f"Take the rights of others away (chmod 600), and find out who read them: {', '.join(open_)}."
        raise WardroundError("WR-1914", "Private keys can be read by other accounts of this machine.", fix=fix)
    if home.path.stat().st_mode & 0o022:
        raise WardroundError("WR-1914", "Other accounts can write to the home folder.", fix=f"chmod 700 {home.path}")
    return "Keys are readable by this account only."


def _writable(home: Home) -> str:
    try:
        with tempfile.TemporaryFile(dir=home.path) as file:
            file.write(b"0")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fix = f"Let this account write to {home.path}, on a file system that is not read-only and has room."
        what = f"The home folder cannot be written: {error.strerror or type(error).__name__}. Nothing leaves meanwhile."
        raise WardroundError("WR-1914", what, fix=fix) from error
    return "The home folder can be written."


def _policy(home: Home) -> str:
    policy = home.policy
    return f"Modes allowed: {', '.join(policy.modes)}; people to approve a study: {policy.approvers}."


def _membership(home: Home) -> str:
    from wardround.client.membership import node_key, read_membership

    found = read_membership(home.path)
    node_key(home.path)
    if found.site != home.site:
        raise WardroundError("WR-1914", f"membership.toml is of {found.site}, the settings are of {home.site}.")
    return f"{found.site} is a member of {found.consortium}; gateway {found.address}."


def _certificate(home: Home) -> str:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from wardround.client.agent.renewal import is_due
    from wardround.client.enrol import check_certificate
    from wardround.client.membership import read_membership, site_credentials

    key, certificate, authority = site_credentials(home.path)
    private = load_pem_private_key(key, password=None)
    consortium = read_membership(home.path).consortium
    found = check_certificate(home, consortium, certificate.decode(), authority.decode(), private)  # type: ignore[arg-type]
    end, now = found.not_valid_after_utc, datetime.now(UTC)
    left = (end - now).total_seconds() / _DAY
    if left <= 0:
        raise WardroundError("WR-1905", f"The certificate ended on {end.date().isoformat()}.")
    if left < _SOON_DAYS and is_due(found, now.timestamp()):
        what = f"The certificate ends on {end.date().isoformat()} and was not renewed."
        fix = "The agent renews it while it is connected: start it, and look at agent.log."
        raise WardroundError("WR-1905", what, fix=fix)
    return f"Valid until {end.date().isoformat()}; the agent renews it in time."


def _roster(home: Home) -> str:
    from wardround.client.identity import accepted_by, accepted_roster
    from wardround.client.offer import offered

    try:
        roster = accepted_roster(home)
    except WardroundError as error:
        fix = "Compare fingerprints by telephone, then: wardround hospital roster accept FINGERPRINT --by NAME"
        raise WardroundError("WR-1702", error.what, fix=fix) from error
    words = f"Version {roster.version}, {len(roster.members)} members, accepted by {accepted_by(home)}."
    waiting = offered(home)
    return words if waiting is None else f"{words} Version {waiting.roster.version} waits: wardround hospital roster."


def _data_sets(home: Home) -> str:
    from wardround.client.data.registry import check_unchanged
    from wardround.client.home import registered

    found = registered(home.settings, ())
    for item in found:
        check_unchanged(item)
    return f"{len(found)} registered, manifests unchanged."


def _ledger(home: Home) -> str:
    if not home.ledger.exists:
        return "There is none yet: without a limit on epsilon no study with a promise runs here."
    return f"{home.ledger.state().sequence} events, whole."


def _processor(home: Home) -> str:
    from wardround.client.train.device import choose_device

    try:
        found = choose_device(home.settings.device)
    except WardroundError as error:
        raise WardroundError("WR-1918", error.what) from error
    before = read_status(home.path)
    if home.settings.device == "auto" and before is not None and before.device == "cuda" and not found.is_gpu:
        raise WardroundError("WR-1918", "This hospital trained on a GPU, and there is none now.")
    return f"Trains on {found.description} with {home.settings.threads} threads."


def _disk(home: Home) -> str:
    free = shutil.disk_usage(home.path).free
    if free < FREE_BYTES:
        fix = "Make room: what leaves is written down first, and without room nothing leaves."
        raise WardroundError("WR-1914", f"Only {free >> 20} MiB are free where the home folder is.", fix=fix)
    return f"{free >> 30} GiB free."


def _agent(home: Home) -> str:
    status = read_status(home.path)
    if not is_running(home.path):
        fix = "wardround hospital serve, or start its service."
        raise WardroundError("WR-1901", "The agent does not run.", fix=fix)
    if status is None or time.time() - status.at > SILENT_SECONDS:
        raise WardroundError("WR-1917", "The agent runs and has not written its status for minutes.", fix="Restart it.")
    if status.code is not None and status.state in {"connecting", "refusing", "refused"}:
        since = datetime.fromtimestamp(status.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        words = (status.words or "").removeprefix(f"{status.code}: ")
        raise WardroundError(status.code, f"Since {since} the agent is {status.state}: {words}", fix="")
    return f"It runs and is {status.state}."


def _coordinator(home: Home) -> str:
    from wardround.client.agent.news import roster_version
    from wardround.client.egress import Gate
    from wardround.client.federation import connect

    def none(_: object) -> None:
        raise RuntimeError("a greeting has no vector")

    gate = Gate(home, none)  # type: ignore[arg-type]
    with connect(home.path, gate.request) as connection:
        welcome = connection.greet(roster_version(home))
    ahead = welcome.at - time.time()
    words = f"{welcome.consortium} answers; its release is {welcome.release}."
    return words if abs(ahead) < _DAY / 24 else f"{words} The clocks differ by {ahead / 60:.0f} minutes."
