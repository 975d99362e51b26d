"""Whatever is asked in whatever order, the roster, the certificates and a plain list of members agree."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fakes.joining import DAY, NOW, Hospital, pin
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wardround.common.consortium.enrolment import InviteCode, SignedEnrolmentRequest
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.server.consortium import create_consortium
from wardround.server.consortium.membership import MOST_CERTIFICATES

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.sampled_from(["oak", "elm", "ash"])


class Wards(RuleBasedStateMachine):
    """The model: who is a member with which key, which codes are open, which keys were ever whose."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.consortium = create_consortium(Path(self.folder.name) / "wards", "wards", "localhost:443", now=NOW)
        self.now = NOW
        self.members = dict[str, Hospital]()
        self.open = dict[str, tuple[InviteCode, int]]()
        self.codes: list[tuple[str, InviteCode]] = []
        self.made: list[Hospital] = []
        self.used: list[tuple[Hospital, SignedEnrolmentRequest]] = []
        self.versions = 0

    def teardown(self) -> None:
        self.consortium.close()
        self.folder.cleanup()

    @rule(days=st.integers(1, 20))
    def wait(self, days: int) -> None:
        self.now += days * DAY

    @rule(name=NAMES, days=st.integers(1, 20))
    def invite(self, name: str, days: int) -> None:
        if name in self.members:
            refused(lambda: self.consortium.invite(name, days=days, now=self.now), "WR-1921")
            code = self.consortium.rekey(name, days=days, now=self.now)
        else:
            code = self.consortium.invite(name, days=days, now=self.now)
        self.open[name] = (code, self.now + days * DAY)
        self.codes.append((name, code))

    @rule(name=NAMES, which=st.integers(0, 1000))
    def join_with_a_code(self, name: str, which: int) -> None:
        if not self.codes:
            return
        _, code = self.codes[which % len(self.codes)]
        hospital = Hospital(name)
        valid = name in self.open and self.open[name][0] == code and self.now < self.open[name][1]
        if valid:
            self.joined(hospital, hospital.request(self.now), pin(code))
        else:
            refused(lambda: hospital.join(self.consortium, now=self.now, code=code), "WR-1904")

    @rule(name=NAMES)
    def join_by_files(self, name: str) -> None:
        hospital = Hospital(name)
        if name in self.members:
            request = hospital.request(self.now)
            refused(lambda: self.consortium.enrol(request, now=self.now, invite_pin=None), "WR-1921")
        else:
            self.joined(hospital, hospital.request(self.now), None)

    @rule(name=NAMES, which=st.integers(0, 1000), field=st.sampled_from(["identity", "tls", "node"]))
    def join_with_a_key_of_another(self, name: str, which: int, field: str) -> None:
        others = [hospital for hospital in self.made if hospital.site != name]
        if name in self.members or not others:
            return
        thief = Hospital(name, **{field: getattr(others[which % len(others)], field)})
        request = thief.request(self.now)
        refused(lambda: self.consortium.enrol(request, now=self.now, invite_pin=None), "WR-1931")

    @rule(which=st.integers(0, 1000))
    def send_an_old_request_again(self, which: int) -> None:
        """It gives what it gave, or nothing; it changes nothing."""
        if not self.used:
            return
        hospital, request = self.used[which % len(self.used)]
        before = self.consortium.store.rosters(), self.consortium.store.sites()
        code = outcome(lambda: self.consortium.enrol(request, now=self.now, invite_pin=None))
        assert code in {None, "WR-1921", "WR-1902"}
        assert code is not None or self.members[hospital.site] is hospital
        assert (self.consortium.store.rosters(), self.consortium.store.sites()) == before

    @rule(name=NAMES)
    def renew(self, name: str) -> None:
        fresh = Hospital(name)
        if name not in self.members:
            refused(lambda: self.consortium.renew(SiteId(name), fresh.csr, now=self.now), "WR-1921")
            return
        valid = sum(row.valid(self.now) for row in self.consortium.store.certificates(SiteId(name)))
        code = outcome(lambda: self.consortium.renew(SiteId(name), fresh.csr, now=self.now))
        assert code == (None if valid < MOST_CERTIFICATES else "WR-1910")

    @rule(name=NAMES)
    def revoke(self, name: str) -> None:
        known = self.consortium.store.site(SiteId(name))
        if known is None or known.state == "revoked":
            refused(lambda: self.consortium.revoke(name, "", now=self.now), "WR-1921")
            return
        self.consortium.revoke(name, "", now=self.now)
        self.versions += name in self.members
        self.members.pop(name, None)
        self.open.pop(name, None)

    def joined(self, hospital: Hospital, request: SignedEnrolmentRequest, by: str | None) -> None:
        admission = self.consortium.enrol(request, now=self.now, invite_pin=by)
        self.versions += 1
        self.members[hospital.site] = hospital
        self.open.pop(hospital.site, None)
        self.made.append(hospital)
        self.used.append((hospital, request))
        assert admission.roster.roster.version == self.versions

    @invariant()
    def agree(self) -> None:
        store = self.consortium.store
        rosters = store.rosters()
        assert [signed.roster.version for signed in rosters] == list(range(1, self.versions + 1))
        keys = {name: hospital.identity.public.hex() for name, hospital in self.members.items()}
        if rosters:
            assert {site: member.key for site, member in rosters[-1].roster.members.items()} == keys
        assert {row.name for row in store.sites() if row.state == "member"} == set(keys)
        for row in store.sites():
            valid = [found for found in store.certificates(row.name) if found.valid(self.now)]
            assert not valid or row.name in keys
        open_now = {row.site for row in store.invites() if row.open(self.now)}
        assert open_now == {name for name, (_, until) in self.open.items() if self.now < until}


def outcome(action: Callable[[], object]) -> str | None:
    """The code of its refusal; None: it was done."""
    try:
        action()
    except WardroundError as error:
        return error.code
    return None


def refused(action: Callable[[], object], code: str) -> None:
    assert outcome(action) == code


TestWards = Wards.TestCase
TestWards.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
