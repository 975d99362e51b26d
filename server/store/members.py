"""The part of the store that says who belongs to the consortium: sites, keys, certificates, invites, rosters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.roster import SignedRoster
from wardround.common.wire.federation import Report
from wardround.server.store import tables
from wardround.server.store.database import Database
from wardround.server.store.rows import CertificateRow, InviteRow, SiteRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, RowMapping


class Members(Database):
    """Sites, keys, certificates, invites, rosters. Each method is one transaction, or part of the one around it."""

    def sites(self) -> tuple[SiteRow, ...]:
        """All sites by name, those that were revoked included."""
        with self.reading() as connection:
            found = connection.execute(select(tables.sites).order_by(tables.sites.c.name)).mappings()
            return tuple(_site_row(row) for row in found)

    def site(self, name: SiteId) -> SiteRow | None:
        """A site; None: there is none of this name."""
        with self.reading() as connection:
            found = connection.execute(select(tables.sites).where(tables.sites.c.name == name)).mappings().first()
            return None if found is None else _site_row(found)

    def add_site(self, name: SiteId, label: str = "") -> SiteRow:
        """Add a site in the state ``invited``.

        Raises:
            WardroundError: WR-1921, there is one of this name.
        """
        with self.transaction() as connection:
            if self.site(name) is not None:
                raise WardroundError("WR-1921", f"There is a site {name} already.")
            connection.execute(insert(tables.sites).values(name=name, label=label, state="invited", reason=""))
            return self._known(name)

    def set_label(self, name: SiteId, label: str) -> None:
        """Change what people call a site.

        Raises:
            WardroundError: WR-1921, there is no such site.
        """
        self._change(name, label=label)

    def join(self, name: SiteId, identity: str, node: str, now: int) -> None:
        """Make a site a member with these keys; they are its own from now on, even when it gets others.

        Nothing is known yet of the roster that its people accept.

        Args:
            name: The site.
            identity: Ed25519 public key, hex.
            node: Public key of the Flower node, hex.
            now: When.

        Raises:
            WardroundError: WR-1921, there is no such site.
        """
        self._change(name, state="member", identity=identity, node=node, joined_at=now, roster=None)

    def revoke(self, name: SiteId, reason: str, now: int) -> None:
        """Revoke a site, all of its certificates and its open invites.

        Raises:
            WardroundError: WR-1921, there is no such site.
        """
        with self.transaction():
            self._change(name, state="revoked", revoked_at=now, reason=reason)
            self.revoke_certificates(name, now)
            self.withdraw_invites(name, now)

    def forget_site(self, name: SiteId) -> None:
        """Remove a site that never joined, and its invites.

        Raises:
            WardroundError: WR-1921, there is no such site, or it has joined.
        """
        with self.transaction() as connection:
            found = self._known(name)
            if found.state != "invited" or found.identity is not None:
                raise WardroundError("WR-1921", f"{name} has joined: it stays.")
            connection.execute(delete(tables.invites).where(tables.invites.c.site == name))
            connection.execute(delete(tables.sites).where(tables.sites.c.name == name))

    def heard(
        self,
        name: SiteId,
        moment: int,
        release: str | None = None,
        roster: int | None = None,
        report: Report | None = None,
    ) -> None:
        """Note that a site was heard, and what it said; None leaves what was known.

        Raises:
            WardroundError: WR-1921, there is no such site.
        """
        told = {"release": release, "roster": roster, "report": None if report is None else report.canonical().decode()}
        self._change(name, heard_at=moment, **{field: value for field, value in told.items() if value is not None})

    def _change(self, name: SiteId, **values: str | int | None) -> None:
        with self.transaction() as connection:
            done = connection.execute(update(tables.sites).where(tables.sites.c.name == name).values(**values))
            if done.rowcount != 1:
                raise WardroundError("WR-1921", f"There is no site {name}.")

    def _known(self, name: SiteId) -> SiteRow:
        found = self.site(name)
        if found is None:
            raise WardroundError("WR-1921", f"There is no site {name}.")
        return found

    def key_owner(self, key: str) -> SiteId | None:
        """The site that a public key was first seen with; a key is nobody else's ever after."""
        with self.reading() as connection:
            owner = connection.execute(select(tables.keys.c.site).where(tables.keys.c.key == key)).scalar()
            return None if owner is None else SiteId(owner)

    def own_keys(self, site: SiteId, keys: Iterable[str]) -> None:
        """Note that public keys are a site's.

        Args:
            site: Whose.
            keys: Kind and hash of each, at most 80 characters.

        Raises:
            WardroundError: WR-1931, one is another site's.
        """
        with self.transaction() as connection:
            for key in keys:
                owner = self.key_owner(key)
                if owner is None:
                    connection.execute(insert(tables.keys).values(key=key, site=site))
                elif owner != site:
                    raise WardroundError("WR-1931", f"A key of {site} is one of another site.")

    def certificate(self, fingerprint: str) -> CertificateRow | None:
        """The certificate with this SHA-256, 64 hex digits; None: the consortium did not issue it."""
        found = self._certificates(tables.certificates.c.hash == fingerprint)
        return found[0] if found else None

    def certificates(self, site: SiteId) -> tuple[CertificateRow, ...]:
        """All certificates of a site, newest last."""
        return self._certificates(tables.certificates.c.site == site)

    def _certificates(self, where: ColumnElement[bool]) -> tuple[CertificateRow, ...]:
        order = tables.certificates.c.issued_at, tables.certificates.c.hash
        with self.reading() as connection:
            found = connection.execute(select(tables.certificates).where(where).order_by(*order)).mappings()
            return tuple(CertificateRow(**row) for row in found)

    def add_certificate(self, row: CertificateRow) -> None:
        """Note a certificate that was issued."""
        with self.transaction() as connection:
            connection.execute(insert(tables.certificates).values(**_fields(row)))

    def revoke_certificates(self, site: SiteId, now: int) -> None:
        """Revoke all certificates that a site has; the gateway refuses them at the next call."""
        mine = tables.certificates.c.site == site, tables.certificates.c.revoked_at.is_(None)
        with self.transaction() as connection:
            connection.execute(update(tables.certificates).where(*mine).values(revoked_at=now))

    def add_invite(self, row: InviteRow) -> None:
        """Note an invite that was made."""
        with self.transaction() as connection:
            connection.execute(insert(tables.invites).values(**_fields(row)))

    def invites(self) -> tuple[InviteRow, ...]:
        """All invites, newest last."""
        order = tables.invites.c.made_at, tables.invites.c.pin
        with self.reading() as connection:
            return tuple(
                InviteRow(**row) for row in connection.execute(select(tables.invites).order_by(*order)).mappings()
            )

    def invite_by_pin(self, pin: str) -> InviteRow | None:
        """The invite of this public key; None: there is none."""
        with self.reading() as connection:
            found = connection.execute(select(tables.invites).where(tables.invites.c.pin == pin)).mappings().first()
            return None if found is None else InviteRow(**found)

    def use_invite(self, pin: str, site: SiteId, *, now: int, request: str) -> None:
        """Use an invite up.

        Args:
            pin: Of its public key.
            site: The name that wants to join.
            now: When.
            request: Hash of the enrolment request.

        Raises:
            WardroundError: WR-1904, there is no such invite, it is another site's, was used, withdrawn, or has expired.
        """
        with self.transaction() as connection:
            invite = self.invite_by_pin(pin)
            if invite is None or invite.site != site:
                raise WardroundError(
                    "WR-1904", f"The invite code is for another name than {site!r}, or was never made."
                )
            if not invite.open(now):
                how = "has expired" if invite.used_at is None else "was used or withdrawn"
                raise WardroundError("WR-1904", f"The invite code {how}.")
            change = update(tables.invites).where(tables.invites.c.pin == pin)
            connection.execute(change.values(used_at=now, request=request))

    def withdraw_invites(self, site: SiteId, now: int) -> None:
        """End all open invites of a site."""
        mine = tables.invites.c.site == site, tables.invites.c.used_at.is_(None)
        with self.transaction() as connection:
            connection.execute(update(tables.invites).where(*mine).values(used_at=now))

    def newest_roster(self) -> SignedRoster | None:
        """The newest roster; None before the first member."""
        with self.reading() as connection:
            newest = select(tables.rosters.c.signed).order_by(tables.rosters.c.version.desc()).limit(1)
            content = connection.execute(newest).scalar()
            return None if content is None else SignedRoster.from_json(content.encode())

    def rosters(self) -> tuple[SignedRoster, ...]:
        """All rosters, newest last."""
        with self.reading() as connection:
            found = connection.execute(select(tables.rosters.c.signed).order_by(tables.rosters.c.version)).scalars()
            return tuple(SignedRoster.from_json(content.encode()) for content in found)

    def add_roster(self, signed: SignedRoster) -> None:
        """Add a newer roster.

        Raises:
            ValueError: Its version is not newer than that of the newest one.
        """
        with self.transaction() as connection:
            before = self.newest_roster()
            if before is not None and signed.roster.version <= before.roster.version:
                raise ValueError("no newer version of the roster")
            content = signed.to_json().decode()
            connection.execute(insert(tables.rosters).values(version=signed.roster.version, signed=content))


def _site_row(row: RowMapping) -> SiteRow:
    report = row["report"]
    read = None if report is None else Report.from_canonical(report.encode(), code="WR-1915")
    return SiteRow(**{**row, "report": read})


def _fields(row: CertificateRow | InviteRow) -> dict[str, str | int | None]:
    return {name: getattr(row, name) for name in row.__slots__}
