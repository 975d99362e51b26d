"""The coordinator's store: members, and what is done together: studies, decisions, runs, events, heads of ledgers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from wardround.common.consortium.studies import SignedDecision, SignedProposal
from wardround.common.errors import WardroundError
from wardround.common.privacy.witness import SignedHead, newest
from wardround.server.store import tables
from wardround.server.store.members import Members
from wardround.server.store.rows import DecisionRow, EventRow, RunRow, StudyRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import RowMapping

    from wardround.common.ids import SiteId, StudyId, StudyRunId
    from wardround.server.store.rows import RunState


class Store(Members):
    """All tables. Each method is one transaction, or part of the one around it (:meth:`transaction`).

    Every method that reaches the database may raise WardroundError WR-1915. Runs and events get their moments from
    :attr:`clock`.
    """

    def setting(self, name: str) -> str | None:
        """A value that was set; None: it was not."""
        with self.reading() as connection:
            return connection.execute(select(tables.settings.c.value).where(tables.settings.c.name == name)).scalar()

    def set_setting(self, name: str, value: str) -> None:
        """Set a value."""
        with self.transaction() as connection:
            change = update(tables.settings).where(tables.settings.c.name == name).values(value=value)
            if connection.execute(change).rowcount == 0:
                connection.execute(insert(tables.settings).values(name=name, value=value))

    def add_study(self, row: StudyRow) -> None:
        """Add a proposed study.

        Raises:
            WardroundError: WR-1932, it was proposed already; WR-1938, and withdrawn.
        """
        with self.transaction() as connection:
            known = self.study(row.id)
            if known is not None and known.withdrawn:
                raise WardroundError("WR-1938", f"Study {row.id[:19]}… was proposed already, and withdrawn.")
            if known is not None:
                raise WardroundError("WR-1932", f"Study {row.id[:19]}… was proposed already.")
            connection.execute(
                insert(tables.studies).values(
                    id=row.id,
                    name=row.name,
                    title=row.title,
                    sites=json.dumps(row.sites),
                    by=row.by,
                    why=row.why,
                    proposed_at=row.proposed_at,
                    signed=row.signed.canonical().decode(),
                )
            )

    def replace_proposal(self, study: StudyId, signed: SignedProposal) -> None:
        """Keep another signed proposal of the same study in the place of the one before."""
        content = signed.canonical().decode()
        with self.transaction() as connection:
            connection.execute(update(tables.studies).where(tables.studies.c.id == study).values(signed=content))

    def studies(self) -> tuple[StudyRow, ...]:
        """All proposed studies, newest last."""
        with self.reading() as connection:
            found = connection.execute(select(tables.studies).order_by(tables.studies.c.number)).mappings()
            return tuple(_study_row(row) for row in found)

    def study(self, study: StudyId) -> StudyRow | None:
        """A proposed study; None: it was not proposed."""
        with self.reading() as connection:
            found = connection.execute(select(tables.studies).where(tables.studies.c.id == study)).mappings().first()
            return None if found is None else _study_row(found)

    def add_decision(self, row: DecisionRow) -> bool:
        """Add a site's decision. One that is known already changes nothing.

        Returns:
            Whether it is new.

        Raises:
            WardroundError: WR-1932, the site has decided later than that: an older decision never replaces a newer one.
        """
        content = row.signed.canonical().decode()
        of_site = tables.decisions.c.study == row.study, tables.decisions.c.site == row.site
        with self.transaction() as connection:
            known = select(tables.decisions.c.number).where(*of_site, tables.decisions.c.signed == content)
            if connection.execute(known).first() is not None:
                return False
            last = connection.execute(select(func.max(tables.decisions.c.decided_at)).where(*of_site)).scalar()
            if last is not None and row.decided_at < last:
                raise WardroundError("WR-1932", f"{row.site} has decided about this study later than that.")
            fields = {name: getattr(row, name) for name in row.__slots__}
            connection.execute(insert(tables.decisions).values(**{**fields, "signed": content}))
            return True

    def decisions(self, study: StudyId) -> tuple[DecisionRow, ...]:
        """The newest decision of each site about a study, by site."""
        last = {row.site: row for row in self.decision_history(study)}
        return tuple(last[site] for site in sorted(last))

    def decided_times(self, study: StudyId, site: SiteId) -> int:
        """How often a site has decided about a study."""
        of_site = tables.decisions.c.study == study, tables.decisions.c.site == site
        with self.reading() as connection:
            count: int = connection.execute(
                select(func.count()).select_from(tables.decisions).where(*of_site)
            ).scalar_one()
            return count

    def decision_history(self, study: StudyId) -> tuple[DecisionRow, ...]:
        """All decisions about a study in the order of their arrival."""
        of_study = select(tables.decisions).where(tables.decisions.c.study == study)
        with self.reading() as connection:
            found = connection.execute(of_study.order_by(tables.decisions.c.number)).mappings()
            return tuple(_decision_row(row) for row in found)

    def add_run(
        self,
        run: StudyRunId,
        study: StudyId,
        *,
        by: str,
        seed: int,
        without: Sequence[SiteId] = (),
        words: str = "",
    ) -> RunRow:
        """Add a run in the state ``waiting``.

        Raises:
            WardroundError: WR-1923, there is one of this id; WR-1913, the study was not proposed.
        """
        with self.transaction() as connection:
            if self.study(study) is None:
                raise WardroundError("WR-1913", f"Study {study[:19]}… was not proposed.")
            if self.run(run) is not None:
                raise WardroundError("WR-1923", f"There is a run {run} already.")
            now = self.clock()
            row = RunRow(run, study, "waiting", by, seed, tuple(without), 0, words, now, now)
            fields = {name: getattr(row, name) for name in row.__slots__}
            connection.execute(insert(tables.runs).values(**{**fields, "without": json.dumps(row.without)}))
            return row

    def run(self, run: StudyRunId) -> RunRow | None:
        """A run; None: there is none of this id."""
        with self.reading() as connection:
            found = connection.execute(select(tables.runs).where(tables.runs.c.id == run)).mappings().first()
            return None if found is None else _run_row(found)

    def runs(self, state: RunState | Sequence[RunState] | None = None) -> tuple[RunRow, ...]:
        """Runs in one of these states, newest last; None: all."""
        wanted = select(tables.runs).order_by(tables.runs.c.number)
        if state is not None:
            wanted = wanted.where(tables.runs.c.state.in_((state,) if isinstance(state, str) else tuple(state)))
        with self.reading() as connection:
            return tuple(_run_row(row) for row in connection.execute(wanted).mappings())

    def update_run(
        self,
        run: StudyRunId,
        *,
        state: RunState | None = None,
        committed: int | None = None,
        words: str | None = None,
        only_if: Sequence[RunState] | None = None,
    ) -> RunRow:
        """Change a run; None leaves a field as it is.

        Args:
            run: The run.
            state: The new state.
            committed: The last committed round.
            words: What happened, for people.
            only_if: States in which it may be changed; None: any.

        Raises:
            WardroundError: WR-1923, there is no such run, or it is in another state.
        """
        with self.transaction() as connection:
            found = self.run(run)
            if found is None:
                raise WardroundError("WR-1923", f"There is no run {run}.")
            if only_if is not None and found.state not in only_if:
                raise WardroundError("WR-1923", f"Run {run} is in the state {found.state}.")
            wanted = {"state": state, "committed": committed, "words": words}
            values = {name: value for name, value in wanted.items() if value is not None}
            connection.execute(
                update(tables.runs).where(tables.runs.c.id == run).values(changed_at=self.clock(), **values)
            )
            return self.run(run) or found

    def add_event(
        self,
        kind: str,
        *,
        site: SiteId | None = None,
        study: StudyId | None = None,
        run: StudyRunId | None = None,
        words: str = "",
    ) -> None:
        """Note what happened."""
        with self.transaction() as connection:
            values = {"at": self.clock(), "kind": kind, "site": site, "study": study, "run": run, "words": words}
            connection.execute(insert(tables.events).values(**values))

    def events(self, after: int = 0, limit: int = 1000) -> tuple[EventRow, ...]:
        """What happened after an event, oldest first."""
        later = select(tables.events).where(tables.events.c.number > after).order_by(tables.events.c.number)
        with self.reading() as connection:
            return tuple(EventRow(**row) for row in connection.execute(later.limit(limit)).mappings())

    def newest_events(self, limit: int) -> tuple[EventRow, ...]:
        """What happened last, newest first."""
        latest = select(tables.events).order_by(tables.events.c.number.desc()).limit(limit)
        with self.reading() as connection:
            return tuple(EventRow(**row) for row in connection.execute(latest).mappings())

    def keep_head(self, site: SiteId, signed: SignedHead) -> SignedHead:
        """Keep the newest head of a site's ledger; its signature is the caller's to check.

        Returns:
            The head that is kept.

        Raises:
            ValueError: It is another site's head.
        """
        if signed.head.site != site:
            raise ValueError("the head of another site's ledger")
        with self.transaction() as connection:
            before = self.head(site)
            kept = newest(before, signed)
            content = kept.model_dump_json()
            if before is None:
                connection.execute(insert(tables.heads).values(site=site, signed=content))
            elif kept is not before:
                connection.execute(update(tables.heads).where(tables.heads.c.site == site).values(signed=content))
            return kept

    def head(self, site: SiteId) -> SignedHead | None:
        """The newest head of a site's ledger; None: it gave none."""
        with self.reading() as connection:
            content = connection.execute(select(tables.heads.c.signed).where(tables.heads.c.site == site)).scalar()
            return None if content is None else SignedHead.model_validate_json(content)


def _study_row(row: RowMapping) -> StudyRow:
    fields = {name: row[name] for name in row if name != "number"}
    signed = SignedProposal.from_canonical(row["signed"].encode(), code="WR-1915")
    return StudyRow(**{**fields, "sites": tuple(json.loads(row["sites"])), "signed": signed})


def _decision_row(row: RowMapping) -> DecisionRow:
    fields = {name: row[name] for name in row if name != "number"}
    return DecisionRow(**{**fields, "signed": SignedDecision.from_canonical(row["signed"].encode(), code="WR-1915")})


def _run_row(row: RowMapping) -> RunRow:
    fields = {name: row[name] for name in row if name != "number"}
    return RunRow(**{**fields, "without": tuple(json.loads(row["without"]))})
