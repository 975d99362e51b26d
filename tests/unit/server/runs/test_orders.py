"""What people ask of runs, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.joining import NOW, Hospital
from fakes.scenarios import chest_scenario

from wardround.common.consortium.studies import Decision, SignedDecision
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.secagg.coordinator_session import offer
from wardround.common.secagg.parameters import Threshold
from wardround.server.consortium import Consortium, create_consortium
from wardround.server.private.coordinator import FOLDER
from wardround.server.private.records import JoinedSession, RunRecords
from wardround.server.private.store import FolderStore
from wardround.server.runs import orders
from wardround.server.runs.overview import overview
from wardround.server.runs.plan import had_losses, keep_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wardround.common.study import Study

SITES = ("north", "coast", "valley")


def study(**sections: Any) -> Study:
    return chest_scenario(**sections).study


class Stand:
    """A consortium of three hospitals and one study."""

    def __init__(self, folder: Path, proposed: Study) -> None:
        self.study = proposed
        self.consortium: Consortium = create_consortium(folder, "Clinics", "gateway.example:8443", now=NOW)
        self.hospitals = {site: Hospital(site) for site in SITES}
        for hospital in self.hospitals.values():
            hospital.join(self.consortium)
        for hospital in self.hospitals.values():
            hospital.accept(self.consortium)
        self.consortium.propose(proposed, "Dr. Asks", now=NOW)

    def decide(self, site: str, verdict: Any, at: int = NOW) -> None:
        decision = Decision(consortium="Clinics", site=site, study=self.study.id, verdict=verdict, by="Dr. Here", at=at)
        signed = SignedDecision.sign(decision, self.hospitals[site].identity)
        self.consortium.decide(SiteId(site), signed, now=NOW)

    def start(self, text: str = "small-chest", **changes: Any) -> Any:
        return orders.start(self.consortium, text, by="Dr. Starts", **changes)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path / "coordinator", study(aggregation={"min_sites": 2}))
    yield made
    made.consortium.close()


def code(attempt: Callable[[], object]) -> str:
    with pytest.raises(WardroundError) as refused:
        attempt()
    return refused.value.code


def test_a_run_needs_every_approval_that_stands(stand: Stand) -> None:
    for site in SITES[:2]:
        stand.decide(site, "approved")
    assert code(stand.start) == "WR-1913"
    stand.decide("valley", "rejected")
    with pytest.raises(WardroundError, match="valley: rejected"):
        stand.start()
    stand.decide("valley", "approved", NOW + 1)
    stand.decide("valley", "withdrawn", NOW + 2)
    with pytest.raises(WardroundError, match="valley: withdrawn"):
        stand.start()
    stand.decide("valley", "approved", NOW + 3)
    stand.consortium.revoke(SiteId("valley"), "gone", now=NOW)
    with pytest.raises(WardroundError, match="valley"):
        stand.start()
    run = stand.start(without=["valley"])  # the positive control
    assert (run.state, run.without, run.by) == ("waiting", ("valley",), "Dr. Starts")


def test_a_completed_study_runs_once_more_only_if_that_is_said(stand: Stand) -> None:
    for site in SITES:
        stand.decide(site, "approved")
    store, first = stand.consortium.store, stand.start()
    store.update_run(first.id, state="completed")
    with pytest.raises(WardroundError, match=r"WR-1923.*was completed.*--again"):
        stand.start()
    second = stand.start(again=True)
    with pytest.raises(WardroundError, match=r"WR-1923.*is waiting"):
        stand.start(again=True)
    store.update_run(second.id, state="failed")
    assert orders.stop(store, second.id, by="Dr. Stops").state == "stopped"


def test_who_may_be_left_out(stand: Stand) -> None:
    for site in SITES:
        stand.decide(site, "approved")
    assert code(lambda: stand.start(without=["north", "coast"])) == "WR-1913"
    assert code(lambda: stand.start(without=["island"])) == "WR-1913"
    assert stand.start().without == ()


def test_a_private_study_keeps_its_cohort(tmp_path: Path) -> None:
    private = study(aggregation={"mode": "private", "secure": {"update_rms": 0.01}})
    stand = Stand(tmp_path / "coordinator", private)
    for site in SITES:
        stand.decide(site, "approved")
    with pytest.raises(WardroundError, match="needs 3"):
        stand.start(without=["north"])
    assert stand.start().state == "waiting"
    stand.consortium.close()


def test_one_run_of_a_study_at_a_time_and_each_has_its_own_name(stand: Stand) -> None:
    for site in SITES:
        stand.decide(site, "approved")
    first = stand.start()
    assert code(stand.start) == "WR-1923"
    orders.stop(stand.consortium.store, first.id, by="Dr. Stops")
    assert code(lambda: orders.stop(stand.consortium.store, first.id, by="Dr. Stops")) == "WR-1923"
    second = stand.start(stand.study.id)
    assert second.id != first.id
    assert code(lambda: orders.resume(stand.consortium, second.id, by="Dr. R")) == "WR-1923"
    assert orders.resume(stand.consortium, first.id, by="Dr. R").state == "waiting"
    assert orders.find_run(stand.consortium.store, "small-chest").id == second.id
    assert code(lambda: orders.find_run(stand.consortium.store, "nothing")) == "WR-1923"


def test_a_study_is_found_by_name_or_the_beginning_of_its_hash(stand: Stand) -> None:
    store, digest = stand.consortium.store, stand.study.id.removeprefix("sha256:")
    for text in ("small-chest", stand.study.id, digest, digest[:6]):
        assert orders.find_study(store, text).id == stand.study.id
    for text in (digest[:5], "other", ""):
        assert code(lambda text=text: orders.find_study(store, text)) == "WR-1924"  # type: ignore[misc]


def test_the_plan_stays_that_of_the_beginning_while_the_roster_grows(stand: Stand, tmp_path: Path) -> None:
    for site in SITES:
        stand.decide(site, "approved")
    run = stand.start(seed=7)
    path, plan = keep_plan(stand.consortium, run)
    assert (plan.study, plan.run, plan.seed) == (stand.study, run.id, 7)
    assert path.stat().st_mode & 0o077 == 0
    Hospital("island").join(stand.consortium)
    assert keep_plan(stand.consortium, run)[1] == plan
    stand.consortium.close()
    moved = (tmp_path / "coordinator").rename(tmp_path / "moved")
    with Consortium(moved) as consortium:
        again = keep_plan(consortium, run)[1]
        assert again.out == moved / "runs" / run.id
        assert again.roster == plan.roster
        (moved / "runs" / run.id / "plan.json").write_text("{}")
        assert code(lambda: keep_plan(consortium, run)) == "WR-1714"


PRIVATE = {"mode": "private", "secure": {"update_rms": 0.01}}


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path / "private", study(aggregation=PRIVATE))
    for site in SITES:
        made.decide(site, "approved")
    yield made
    made.consortium.close()


def rejoined(stand: Stand, site: str) -> None:
    """A hospital joins again with new keys, accepts the roster that has them, and decides again."""
    stand.hospitals[site] = Hospital(site)
    stand.hospitals[site].join(stand.consortium, code=stand.consortium.invite(site, now=NOW, again=True))
    stand.hospitals[site].accept(stand.consortium)
    with pytest.raises(WardroundError, match=rf"WR-1913.*{site}: no decision yet"):
        stand.start()
    stand.decide(site, "approved", NOW + 1)


def test_a_private_run_needs_its_hospitals_newest_keys_accepted_at_each(private: Stand) -> None:
    Hospital("island").join(private.consortium)
    run = private.start()  # the newcomer is no hospital of the study
    orders.stop(private.consortium.store, run.id, by="Dr. Stops")
    rejoined(private, "coast")
    private.hospitals["valley"].accept(private.consortium)
    for attempt in (private.start, lambda: orders.resume(private.consortium, run.id, by="Dr. R")):
        with pytest.raises(WardroundError, match=r"version 5 .* north \(accepted version 3\)\. At each") as refused:
            attempt()
        assert refused.value.code == "WR-1936"
        assert "wardround hospital roster accept" in refused.value.fix
    private.hospitals["north"].accept(private.consortium)
    assert private.start().state == "waiting"


def test_an_open_run_needs_that_each_hospital_has_accepted_a_roster(stand: Stand) -> None:
    for site in SITES:
        stand.decide(site, "approved")
    stand.hospitals["coast"] = Hospital("coast")
    stand.hospitals["coast"].join(stand.consortium, code=stand.consortium.invite("coast", now=NOW, again=True))
    stand.decide("coast", "approved", NOW + 1)
    with pytest.raises(WardroundError, match=r"WR-1936.*coast \(accepted none\)\."):
        stand.start()
    assert stand.start(without=["coast"]).state == "waiting"
    orders.stop(stand.consortium.store, "small-chest", by="Dr. Stops")
    stand.hospitals["coast"].accept(stand.consortium)
    assert stand.start().state == "waiting"  # the others have not accepted its newest key, and need not


def test_a_run_goes_on_on_the_newest_roster_that_all_its_hospitals_have_accepted(private: Stand) -> None:
    run = private.start()

    def version() -> int:
        roster = keep_plan(private.consortium, run)[1].roster
        assert roster is not None
        return roster.roster.version

    assert version() == 3
    Hospital("island").join(private.consortium)
    for site in SITES:
        assert version() == 3
        private.hospitals[site].accept(private.consortium)
    assert version() == 4
    rejoined(private, "coast")
    assert version() == 4  # they have accepted different keys
    for site in ("north", "valley"):
        private.hospitals[site].accept(private.consortium)
    assert version() == 5


def begin_session(stand: Stand, run: Any) -> None:
    """What a private run keeps when all its hospitals have joined its session."""
    plan = keep_plan(stand.consortium, run)[1]
    assert plan.roster is not None
    context = offer(
        plan.roster.roster,
        study=stand.study.id,
        run=run.id,
        settings=bytes(32),
        session=1,
        cohort=stand.study.site_ids,
        sizes=Threshold(3, stand.study.colluding, stand.study.secure.strength),
    )
    records = RunRecords(FolderStore(plan.out / FOLDER), stand.study)
    records.keep_session(JoinedSession(context, bytes(32)))


def test_a_private_run_is_not_resumed_without_the_keys_that_it_began_with(private: Stand) -> None:
    run, consortium = private.start(), private.consortium
    begin_session(private, run)
    Hospital("island").join(consortium)  # another hospital is nobody's concern here
    for site in SITES:
        private.hospitals[site].accept(consortium)
    orders.stop(consortium.store, run.id, by="Dr. Stops")
    assert orders.resume(consortium, run.id, by="Dr. R").state == "waiting"  # the positive control
    orders.stop(consortium.store, run.id, by="Dr. Stops")
    consortium.revoke("coast", "lost laptop", now=NOW)
    for there in ("revoked", "other keys now"):
        with pytest.raises(WardroundError, match=rf"cannot go on.* coast: {there}\.") as refused:
            orders.resume(consortium, run.id, by="Dr. R")
        assert (refused.value.code, "north" in refused.value.what) == ("WR-1923", False)
        assert "wardround coordinator start small-chest --by NAME" in refused.value.fix
        assert orders.find_run(consortium.store, run.id).state == "stopped"
        if there == "revoked":
            private.hospitals["coast"] = Hospital("coast")
            private.hospitals["coast"].join(consortium)
            for site in SITES:
                private.hospitals[site].accept(consortium)
    private.decide("coast", "approved", NOW + 1)
    assert private.start().id != run.id  # what it says to do


def test_an_open_run_is_resumed_when_a_hospital_has_joined_again(stand: Stand) -> None:
    for site in SITES:
        stand.decide(site, "approved")
    run = stand.start()
    keep_plan(stand.consortium, run)
    stand.consortium.revoke("coast", "lost laptop", now=NOW)
    (words,) = orders.needing(stand.consortium, SiteId("coast")).values()
    assert "goes on without coast while 2 of its other sites are heard" in words
    back = Hospital("coast")
    back.join(stand.consortium)
    orders.stop(stand.consortium.store, run.id, by="Dr. Stops")
    with pytest.raises(WardroundError, match=r"WR-1936.*coast \(accepted none\)"):
        orders.resume(stand.consortium, run.id, by="Dr. R")
    back.accept(stand.consortium)
    assert orders.resume(stand.consortium, run.id, by="Dr. R").state == "waiting"


def test_who_watches_and_who_revokes_are_told_which_runs_cannot_go_on(private: Stand) -> None:
    run, consortium = private.start(), private.consortium

    def seen() -> str:
        return str(overview(consortium)["runs"][0]["words"])

    assert orders.needing(consortium, SiteId("island")) == {}
    begin_session(private, run)
    assert "cannot go on" not in seen()
    consortium.revoke("coast", "lost laptop", now=NOW)
    consortium.store.update_run(run.id, words="waits until 3 sites are heard; missing: coast")
    stop = f"wardround coordinator stop {run.id} --by NAME"
    assert seen() == (
        "waits until 3 sites are heard; missing: coast; it cannot go on in private mode: coast was revoked or joined "
        f"again. Stop it: {stop}"
    )
    (words,) = orders.needing(consortium, SiteId("coast")).values()
    assert f"Run {run.id} needs coast and cannot go on, also not when it is back" in words
    assert stop in words
    assert "wardround coordinator start small-chest --by NAME [--without coast]" in words
    orders.stop(consortium.store, run.id, by="Dr. Stops")
    assert (seen(), orders.needing(consortium, SiteId("coast"))) == ("stopped by Dr. Stops", {})


def test_a_private_run_whose_session_has_not_begun_waits_for_a_revoked_hospital(private: Stand) -> None:
    run, consortium = private.start(), private.consortium
    consortium.revoke("coast", "lost laptop", now=NOW)
    assert orders.needing(consortium, SiteId("coast"))[run.id].startswith(f"Run {run.id} waits until coast is back.")
    assert overview(consortium)["runs"][0]["words"] == run.words


def test_losses_are_what_the_history_says(tmp_path: Path) -> None:
    for dropped, losses in (("{}", False), ('{"north": "gone"}', True)):
        (tmp_path / "history.json").write_text(f'{{"rounds": [{{"dropped": {{}}}}, {{"dropped": {dropped}}}]}}')
        assert had_losses(tmp_path) is losses
