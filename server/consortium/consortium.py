"""The consortium as its coordinator runs it: its members, the studies it proposes, what the hospitals decide."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from wardround.common.consortium.studies import Proposal, SignedProposal
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId
from wardround.common.privacy.witness import Answer
from wardround.server.consortium import folder, requests
from wardround.server.consortium.buildable import check_buildable
from wardround.server.consortium.membership import Membership
from wardround.server.consortium.settings import CertificateSettings, CoordinatorSettings, DatabaseSettings
from wardround.server.store import DecisionRow, StudyRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardround.common.consortium.studies import SignedDecision
    from wardround.common.privacy.witness import SignedHead
    from wardround.common.study import Study

MOST_DECISIONS: Final = 1000
"""Decisions of one site about one study."""


class Consortium(Membership):
    """A coordinator's folder, open. See :class:`Opened` and :class:`Membership`."""

    def propose(self, study: Study, by: str, why: str = "", *, now: int) -> SignedProposal:
        """Ask the hospitals of a study to take part.

        Raises:
            WardroundError: WR-1921, a site of the study is unknown or revoked; WR-1932, it was proposed already;
                WR-1931, ``by`` or ``why`` is too long or not printable; WR-12xx, WR-1002 or WR-1805, nobody could carry
                it out.
        """
        asked_by = requests.words(by, "The name of the person who asks")
        signed = self._signed(study.canonical().decode(), asked_by, why, now)
        check_buildable(study, self.path / "weights")
        sites = tuple(SiteId(site) for site in study.sites)
        row = StudyRow(study.id, study.name, study.title, sites, asked_by, why, now, signed)
        with self.store.transaction():
            for site in sites:
                if self._known(site).state == "revoked":
                    raise WardroundError("WR-1921", f"{site} was revoked.")
            self.store.add_study(row)
            self.store.add_event("study.proposed", study=study.id, words=study.name)
        return signed

    def withdraw(self, study: StudyId, by: str, why: str = "", *, now: int) -> SignedProposal:
        """Ask the hospitals of a study no longer: nobody can approve or start it from now on.

        Raises:
            WardroundError: WR-1913, it was not proposed; WR-1938, it was withdrawn already; WR-1923, it was started;
                WR-1931, ``by`` or ``why`` is too long or not printable.
        """
        told_by = requests.words(by, "The name of the person who withdraws the study")
        with self.store.transaction():
            row = self.store.study(study)
            if row is None:
                raise WardroundError("WR-1913", f"Study {study[:19]}… was not proposed.")
            check_not_withdrawn(row)
            if any(run.study == study for run in self.store.runs()):
                fix = "Stop its run instead: wardround coordinator stop RUN --by NAME"
                raise WardroundError("WR-1923", f"Study {row.name} was started.", fix=fix)
            before = row.signed.verified(self.authority.public.hex())
            signed = self._signed(before.study, told_by, why, max(now, before.at + 1), withdrawn=True)
            self.store.replace_proposal(study, signed)
            self.store.add_event("study.called-off", study=study, words=f"{row.name}, by {told_by}")
        return signed

    def _signed(self, study: str, by: str, why: str, at: int, *, withdrawn: bool = False) -> SignedProposal:
        try:
            proposal = Proposal(consortium=self.name, study=study, by=by, why=why, at=at, withdrawn=withdrawn)
        except ValidationError:
            raise WardroundError("WR-1931", "The purpose is at most 2,000 printable characters.") from None
        return SignedProposal.sign(proposal, self.authority)

    def decide(self, site: SiteId, signed: SignedDecision, *, now: int) -> bool:
        """Take a hospital's decision, which must be signed by its key in the newest roster.

        Args:
            site: Whose it is, from the certificate of the connection.
            signed: The decision.
            now: When it arrived.

        Returns:
            Whether it is new; one that is known already changes nothing.

        Raises:
            WardroundError: WR-1902, it is malformed, or of tomorrow; WR-1903, the site did not sign it; WR-1909, it
                is about another site or consortium, or a study that does not name the site; WR-1913, the study was
                not proposed; WR-1938, it is an approval of one that was withdrawn; WR-1921, the site is no member;
                WR-1932, the site has decided later than that.
        """
        member = self._member(site)
        decision = signed.verified(member.identity or "")
        if (decision.site, decision.consortium) != (site, self.name):
            raise WardroundError("WR-1909", "The decision is of another site or consortium.")
        if decision.at > now + requests.AHEAD:
            fix = "Set the clock of the hospital's machine, and decide again."
            raise WardroundError("WR-1902", "The decision was made in the future.", fix=fix)
        study = StudyId(decision.study)
        row = DecisionRow(
            study, site, decision.verdict, decision.by, decision.second, decision.reason, decision.at, signed
        )
        with self.store.transaction():
            asked = self._asked(site, study)
            if decision.verdict == "approved":
                check_not_withdrawn(asked)
            new = self.store.add_decision(row)
            if new:
                self.store.add_event(f"study.{decision.verdict}", site=site, study=study, words=decision.by)
            return new

    def _asked(self, site: SiteId, study: StudyId) -> StudyRow:
        found = self.store.study(study)
        if found is None:
            raise WardroundError("WR-1913", f"Study {study[:19]}… was not proposed.")
        if site not in found.sites:
            raise WardroundError("WR-1909", f"Study {study[:19]}… does not name {site}.")
        if self.store.decided_times(study, site) >= MOST_DECISIONS:
            raise WardroundError("WR-1910", f"{site} has decided {MOST_DECISIONS} times about this study.")
        return found

    def approvals(self, study: StudyId) -> tuple[SiteId, ...]:
        """Members whose newest decision about a study is to take part, by name."""
        members = {row.name for row in self.store.sites() if row.state == "member"}
        decided = self.decisions(study)
        return tuple(row.site for row in decided if row.verdict == "approved" and row.site in members)

    def decisions(self, study: StudyId) -> tuple[DecisionRow, ...]:
        """The newest decision of each site about a study under the identity that it has now, by site.

        A hospital that was revoked and has joined again decides again: who held its old key may have decided for it.
        """
        identities = {row.name: row.identity for row in self.store.sites()}
        return tuple(row for row in self.store.decisions(study) if row.signed.signer == identities[row.site])

    def proposals_for(self, site: SiteId) -> tuple[SignedProposal, ...]:
        """Every study that names a site, newest last; of more than a thousand the newest thousand."""
        return tuple(row.signed for row in self.store.studies() if site in row.sites)[-1000:]

    def witness(self, site: SiteId, head: SignedHead | None, nonce: str) -> Answer:
        """Keep the newest head of a site's privacy ledger, and say which was the newest before.

        Raises:
            WardroundError: WR-1816, the site did not sign the head; WR-1909, it is another site's; WR-1921, the site is
                no member.
        """
        member = self._member(site)
        if head is not None:
            if head.head.site != site:
                raise WardroundError("WR-1909", "The head is of another site's ledger.")
            head.verify(bytes.fromhex(member.identity or ""))
        with self.store.transaction():
            before = self.store.head(site)
            if head is not None:
                self.store.keep_head(site, head)
        return Answer.sign(requests.COORDINATOR, site, before, nonce, self.authority)


def check_not_withdrawn(row: StudyRow) -> None:
    """Refuse a study that was withdrawn.

    Raises:
        WardroundError: WR-1938.
    """
    if row.withdrawn:
        raise WardroundError("WR-1938", f"Study {row.name} was withdrawn.")


def create_consortium(
    path: Path,
    name: str,
    address: str,
    *,
    now: int | None = None,
    listen: str | None = None,
    database: str = "",
    names: Sequence[str] = (),
) -> Consortium:
    """Make a consortium's folder and open it.

    Args:
        path: The folder; made if it is missing, else empty.
        name: Of the consortium.
        address: ``host:port`` under which hospitals will reach the gateway.
        now: When; None: the clock.
        listen: ``host:port`` on which the gateway will listen; None: the address's port on all addresses.
        database: URL; empty: SQLite in the folder.
        names: Further host names and addresses of the gateway.

    Raises:
        WardroundError: WR-1914, the folder is not empty; WR-1915, the database cannot be used; WR-1931, a name or an
            address cannot be used.
    """
    called = requests.words(name, "The name of a consortium")
    port = address.rpartition(":")[2]
    try:
        settings = CoordinatorSettings(
            name=called,
            address=address,
            listen=listen or f"0.0.0.0:{port}",
            database=DatabaseSettings(url=database),
            certificates=CertificateSettings(names=tuple(names)),
        )
    except ValidationError:
        raise WardroundError("WR-1931", "An address is host:port; further names are host names.") from None
    folder.create_folder(path, settings, int(time.time()) if now is None else now)
    return Consortium(path)
