"""Who belongs to the consortium: invite, enrol, renew, revoke.

Everything is checked first; what follows is one transaction: keys, certificate, roster and event together, or nothing.
The authority signs the next roster inside that transaction, where writers take turns, so no version exists twice.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardround.common.consortium.enrolment import SECRET_BYTES, Admission, InviteCode, SignedEnrolmentRequest
from wardround.common.consortium.signed import MAX_BYTES
from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError
from wardround.common.roster import Member, Roster, SignedRoster
from wardround.common.wire.federation import Renewed
from wardround.server.consortium import requests
from wardround.server.consortium.opened import Opened
from wardround.server.store import CertificateRow, InviteRow

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from wardround.common.ids import SiteId
    from wardround.server.consortium.requests import CheckedRequest
    from wardround.server.store import SiteRow

DAY: Final = requests.DAY
GRACE: Final = 3600
"""How long after its use an invite still opens a connection, seconds: for a site that the answer did not reach."""

AFTER_RESTORE: Final = 1000
"""Versions of the roster that are left out after a restore: more than there can have been since the backup."""

MOST_MEMBERS: Final = 1000
MOST_CERTIFICATES: Final = 10
"""Valid certificates that a site may have at a time."""

_SAME: Final = DAY
"""A renewal for the same key within so many seconds is answered with the same certificate."""


class Membership(Opened):
    """Invite, enrol, renew, revoke."""

    def invite(self, site: str, label: str = "", days: int = 7, *, now: int, again: bool = False) -> InviteCode:
        """Make an invite, which ends all earlier ones of this site.

        Args:
            site: The name that the hospital will have.
            label: What people call it; empty leaves what is known.
            days: How long the invite is valid, 1 to 365.
            now: When.
            again: A member joins again, with new keys.

        Raises:
            WardroundError: WR-1931, name or label cannot be used; WR-1921, the site is a member and ``again`` was not
                said; WR-1904, ``days`` is out of range; WR-1910, the consortium is full.
        """
        name, text = requests.site_name(site), requests.words(label, "A label", empty=True)
        if not 1 <= days <= 365:
            raise WardroundError("WR-1904", "An invite is valid for 1 to 365 days.", fix="Give --days from 1 to 365.")
        secret = os.urandom(SECRET_BYTES)
        certificate = certificates.invite_authority(certificates.invite_key(secret))
        pin = certificates.pin_of(certificate)
        code = InviteCode(
            address=self.settings.address, pin=certificates.pin_of(self.server_certificate), secret=secret.hex()
        )
        with self.store.transaction():
            self._expect(name, text, again=again)
            self.store.withdraw_invites(name, now)
            self.store.add_invite(InviteRow(pin, name, certificates.pem(certificate), now, now + days * DAY))
            self.store.add_event("site.invited", site=name)
        return code

    def withdraw_invite(self, site: str, *, now: int) -> bool:
        """End a site's open invites. A site that never joined and that no study names is forgotten with them.

        Returns:
            Whether it is forgotten: its name is free, as if nobody had ever been invited under it.

        Raises:
            WardroundError: WR-1931, the name cannot be used; WR-1921, there is no such site, or it has no open invite.
        """
        name = requests.site_name(site)
        with self.store.transaction():
            row = self._known(name)
            unused = row.state == "invited" and not any(name in study.sites for study in self.store.studies())
            if not unused and not any(invite.site == name and invite.open(now) for invite in self.store.invites()):
                raise WardroundError("WR-1921", f"{name} has no open invite.")
            self.store.withdraw_invites(name, now)
            if unused:
                self.store.forget_site(name)
            self.store.add_event("invite.withdrawn", site=name)
        return unused

    def rekey(self, site: str, days: int = 7, *, now: int) -> InviteCode:
        """An invite for a member that lost its keys. They hold until it has joined with new ones; no other is touched.

        Raises:
            WardroundError: WR-1921, the site is no member.
        """
        name = requests.site_name(site)
        self._member(name)
        return self.invite(name, days=days, now=now, again=True)

    def enrol(
        self,
        signed: SignedEnrolmentRequest,
        *,
        now: int,
        invite_pin: str | None,
        again: bool = False,
        node_id: int = 0,
    ) -> Admission:
        """Make a site a member, in a new version of the roster.

        The same request is answered with the same certificate again, as long as it is the site's newest.

        Args:
            signed: The request.
            now: When.
            invite_pin: Pin of the key that the site connected with; None: people brought the request.
            again: Without an invite: a member joins again, with new keys.
            node_id: Of the site's Flower node; 0: not registered yet, the gateway says it when the agent greets.

        Raises:
            WardroundError: WR-1902, the request is malformed or old; WR-1903, its own key did not sign it; WR-1904, the
                invite is not open for this site; WR-1921, the site is a member already, or the request was used up;
                WR-1931, name or a key cannot be used; WR-1937, its identity key was revoked; WR-1910, the consortium is
                full.
        """
        request = requests.checked_request(signed, now)
        site = requests.site_name(request.content.site)
        with self.store.transaction():
            row = self._answered(request, invite_pin)
            if row is None:
                row = self._admit(request, site, invite_pin, now, again=again)
            return self._admission(site, row, node_id)

    def admit_file(self, path: Path, *, now: int, again: bool = False) -> Admission:
        """:meth:`enrol` a request that people brought as a file.

        Raises:
            WardroundError: As :meth:`enrol`.
        """
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise WardroundError("WR-1902", f"The request cannot be read ({type(error).__name__}).") from error
        signed = SignedEnrolmentRequest.from_canonical(content.removesuffix(b"\n"))
        return self.enrol(signed, now=now, invite_pin=None, again=again)

    def renew(self, site: SiteId, certificate_request: str, *, now: int) -> Renewed:
        """A new certificate for a member; its older ones hold until they end.

        Raises:
            WardroundError: WR-1902, the request is malformed; WR-1921, the site is no member; WR-1931, the key is
                another site's; WR-1910, it has too many certificates.
        """
        csr = requests.checked_csr(certificate_request)
        key = requests.tls_key(csr)
        with self.store.transaction():
            self._member(site)
            self.store.own_keys(site, (key,))
            valid = [row for row in self.store.certificates(site) if row.valid(now)]
            same = [row for row in valid if f"tls {row.pin}" == key and now - row.issued_at < _SAME]
            if not same and len(valid) >= MOST_CERTIFICATES:
                raise WardroundError("WR-1910", f"{site} has {len(valid)} valid certificates already.")
            row = same[-1] if same else self._issue(csr, site, None, now)
        return Renewed(certificate=row.pem, certificate_authority=certificates.pem(self.certificate_authority))

    def revoke(self, site: str, reason: str, *, now: int) -> SignedRoster | None:
        """Revoke a site: its certificates are refused from the next call on, and a new roster is without it.

        Its identity key is nobody's any more: the site may be invited again, and joins with another one.

        Returns:
            The newest roster, which has no members where the last one goes; None: there never was a member.

        Raises:
            WardroundError: WR-1921, there is no such site, or it was revoked; WR-1931, the reason cannot be used.
        """
        name, why = requests.site_name(site), requests.words(reason, "A reason", empty=True)
        with self.store.transaction():
            if self._known(name).state == "revoked":
                raise WardroundError("WR-1921", f"{name} was revoked already.")
            self._retire_identity(name)
            self.store.revoke(name, why, now)
            roster = self._renew_roster()
            self.store.add_event("site.revoked", site=name, words=why)
        return roster

    def begin_anew(self, now: int) -> tuple[SiteId, ...]:
        """What has to follow upon a restore from a backup, whose past ends before what hospitals have seen.

        Open invites end: one may have been used or withdrawn since. The roster gets a version above every one that a
        hospital can have accepted since, so that none of them takes it for the one that it knows.

        Returns:
            The sites whose invites were withdrawn.
        """
        with self.store.transaction():
            ended = tuple(sorted({row.site for row in self.store.invites() if row.open(now)}))
            for site in ended:
                self.store.withdraw_invites(site, now)
            newest = self.store.newest_roster()
            if newest is not None:
                version = newest.roster.version + AFTER_RESTORE
                later = Roster(consortium=self.name, version=version, members=newest.roster.members)
                self.store.add_roster(SignedRoster.sign(later, self.authority))
        return ended

    def trusted_roots(self, now: int) -> bytes:
        """What a connection's certificate may be signed with: the authority, and the keys of open invites. PEM."""
        invites = [
            row.certificate
            for row in self.store.invites()
            if row.open(now) or (row.request is not None and now - (row.used_at or 0) < GRACE)
        ]
        return "".join((certificates.pem(self.certificate_authority), *invites)).encode()

    def _known(self, site: SiteId) -> SiteRow:
        found = self.store.site(site)
        if found is None:
            raise WardroundError("WR-1921", f"There is no site {site}.")
        return found

    def _member(self, site: SiteId) -> SiteRow:
        found = self._known(site)
        if found.state != "member":
            raise WardroundError("WR-1921", f"{site} is no member: it is {found.state}.")
        return found

    def _expect(self, site: SiteId, label: str, *, again: bool) -> None:
        """Note a site that will join; a member may only ``again``."""
        found = self.store.site(site)
        if found is None:
            if len(self.store.sites()) >= MOST_MEMBERS:
                raise WardroundError("WR-1910", f"A consortium has at most {MOST_MEMBERS} sites.")
            self.store.add_site(site, label)
        elif found.state == "member" and not again:
            fix = "Say --again if it shall join with new keys; until then the present ones hold."
            raise WardroundError("WR-1921", f"{site} is a member already.", fix=fix)
        elif label:
            self.store.set_label(site, label)

    def _answered(self, request: CheckedRequest, invite_pin: str | None) -> CertificateRow | None:
        """The certificate that answered this very request; None: nobody has used it.

        Raises:
            WardroundError: WR-1921, it was used, and the site has other keys or was revoked since; WR-1904, it came
                with another invite then.
        """
        its_hash, site = request.content.hash, request.content.site
        rows = [row for row in self.store.certificates(site) if row.request == its_hash]
        if not rows:
            return None
        found = self.store.site(site)
        current = found is not None and found.state == "member" and found.identity == request.content.identity
        if not current or rows[-1].revoked_at is not None:
            fix = "Make a new request at the hospital; this one is used up."
            raise WardroundError("WR-1921", "The request was used before.", fix=fix)
        invite = None if invite_pin is None else self.store.invite_by_pin(invite_pin)
        if invite_pin is not None and (invite is None or invite.request != its_hash):
            raise WardroundError("WR-1904", "The invite code is not the one that this request was used with.")
        return rows[-1]

    def _admit(
        self, request: CheckedRequest, site: SiteId, invite_pin: str | None, now: int, *, again: bool
    ) -> CertificateRow:
        content = request.content
        if invite_pin is not None:
            self.store.use_invite(invite_pin, site, now=now, request=content.hash)
        else:
            self._expect(site, "", again=again)
        if content.identity == self.authority.public.hex():
            raise WardroundError("WR-1931", "A site's identity key cannot be the authority's.")
        self._check_not_retired(site, content.identity)
        self.store.own_keys(site, request.keys)
        if content.label and not self._known(site).label:
            self.store.set_label(site, content.label)
        self.store.withdraw_invites(site, now)
        self.store.revoke_certificates(site, now)
        self.store.join(site, content.identity, content.node, now)
        row = self._issue(request.csr, site, content.hash, now)
        self._renew_roster()
        self.store.add_event("site.joined", site=site)
        return row

    def _retire_identity(self, site: SiteId) -> None:
        """Note durably that a site's identity key is refused from now on."""
        identity = self._known(site).identity
        if identity is not None:
            self.store.own_keys(site, (f"revoked {identity}",))

    def _check_not_retired(self, site: SiteId, identity: str) -> None:
        """Refuse an identity key that a site had when it was revoked.

        Raises:
            WardroundError: WR-1937.
        """
        found = self.store.site(site)
        still = found is not None and found.state == "revoked" and found.identity == identity
        if still or self.store.key_owner(f"revoked {identity}") is not None:
            raise WardroundError("WR-1937", f"The identity key of {site} was revoked.")

    def _issue(
        self, csr: x509.CertificateSigningRequest, site: SiteId, request: str | None, now: int
    ) -> CertificateRow:
        until = now + self.settings.certificates.days * DAY
        issued = certificates.issue_site(
            self.certificate_authority, self._authority_key, csr, self.name, site, at=now, until=until
        )
        pin, pem = certificates.pin_of(issued), certificates.pem(issued)
        row = CertificateRow(certificates.certificate_hash(issued), site, pin, pem, request, now, until)
        self.store.add_certificate(row)
        return row

    def _renew_roster(self) -> SignedRoster | None:
        """Sign the next roster if members, keys or labels are others than in the newest."""
        newest = self.store.newest_roster()
        members = {
            row.name: Member(key=row.identity, label=row.label)
            for row in self.store.sites()
            if row.state == "member" and row.identity is not None
        }
        if dict(() if newest is None else newest.roster.members) == members:
            return newest
        version = 1 if newest is None else newest.roster.version + 1
        signed = SignedRoster.sign(Roster(consortium=self.name, version=version, members=members), self.authority)
        self.store.add_roster(signed)
        return signed

    def _admission(self, site: SiteId, row: CertificateRow, node_id: int) -> Admission:
        roster = self.store.newest_roster()
        if roster is None:
            raise RuntimeError("a member without a roster")
        return Admission(
            site=site,
            address=self.settings.address,
            certificate=row.pem,
            certificate_authority=certificates.pem(self.certificate_authority),
            node_id=node_id,
            roster=roster,
        )
