"""Private rounds against the plain mean of the same updates: whoever falls silent, whatever is restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.private_runs import Consortium, Oracle, WatchedGrid, private_scenario, watched

from wardround.client import app as hospital_app
from wardround.client.home import create_home
from wardround.client.identity import accepted_roster, new_identity
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId
from wardround.common.wire.private import JOIN, ProtocolMessage
from wardround.common.wire.records import pack
from wardround.simulations.faults import Fault
from wardround.simulations.hospitals import CONSORTIUM_FOLDER, enrol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from flwr.app import Message

    from wardround.client.home import Home


def faults(*lines: tuple[str, int, Any, int | None]) -> list[Fault]:
    return [Fault(site=site, round=number, stage=stage, attempts=attempts) for site, number, stage, attempts in lines]


def run(consortium: Consortium, silent: Sequence[Fault] = ()) -> tuple[dict[str, Any], Oracle]:
    grid, oracle = watched(consortium, silent)
    return consortium.coordinate(grid), oracle


def assert_steps_are_plain_means(history: dict[str, Any], oracle: Oracle) -> None:
    errors = oracle.errors(history)
    assert all(error > 0 for error, _ in errors), "the encoding rounds: an exact step would be another path"
    assert max(share for _, share in errors) <= 1


@pytest.mark.parametrize(
    ("sites", "sections"),
    [
        (3, {}),
        (3, {"aggregation": {"secure": {"update_rms": 2e-3, "ring_bits": 32}}}),
        (5, {}),
        (5, {"aggregation": {"weights": "equal"}}),
        (4, {"aggregation": {"secure": {"update_rms": 2e-3, "strength": "semi-honest"}}}),
        (3, {"selection": {"rule": "ema", "ema_decay": 0.5}}),
    ],
)
def test_every_step_is_the_plain_mean_within_the_stated_bound(sites: int, sections: Any, tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(sites, **sections), tmp_path)
    history, oracle = run(consortium)
    names = sorted(consortium.hospitals)
    assert [record["sites"] for record in history["rounds"]] == [names] * 3
    assert not any(record["dropped"] or record["silent"] or record["failed"] for record in history["rounds"])
    if consortium.study.aggregation.weights == "equal":
        for seen in oracle.rounds.values():
            seen.replies = {site: reply.model_copy(update={"patients": 1}) for site, reply in seen.replies.items()}
    assert_steps_are_plain_means(history, oracle)


def test_numbers_of_a_round_are_those_of_open_mode(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(5), tmp_path)
    history, oracle = run(consortium)
    for record in history["rounds"]:
        replies = oracle.rounds[record["round"]].replies.values()
        assert (record["samples"], record["train_seconds"]) == (None, None)
        assert record["train_loss"] == pytest.approx(np.mean([reply.loss for reply in replies]), abs=1e-8)
        validation = next(found for found in history["validations"] if found["round"] == record["round"] - 1)
        losses = [reply.validation_loss for reply in replies if reply.validation_loss is not None]
        assert (validation["loss"], validation["metric"]) == ({}, {})
        assert validation["mean"]["sites"] == len(losses)
        assert validation["mean"]["loss"] == pytest.approx(np.mean(losses), abs=1e-8)
    assert [found["round"] for found in history["validations"]] == [0, 1, 2, 3]


def test_a_site_may_be_silent_from_any_stage_on(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(5), tmp_path)
    silent = faults(("site1", 1, "upload", None), ("site2", 2, "confirm", None), ("site3", 3, "open", None))
    history, oracle = run(consortium, silent)
    first, second, third = history["rounds"]
    assert set(first["dropped"]) == {"site1"}
    assert first["sites"] == ["site0", "site2", "site3", "site4"]
    assert "no answer" in first["dropped"]["site1"]
    assert second["sites"] == third["sites"] == sorted(consortium.hospitals)
    assert (set(second["silent"]), set(third["silent"])) == ({"site2"}, {"site3"})
    assert not second["dropped"] | third["dropped"]
    assert [record["attempts"] for record in history["rounds"]] == [1, 1, 1]
    assert_steps_are_plain_means(history, oracle)


def test_a_failed_attempt_is_tried_again_with_the_same_updates(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3), tmp_path)
    history, oracle = run(consortium, faults(("site1", 2, "upload", 1)))
    record = history["rounds"][1]
    assert (record["attempts"], record["dropped"], record["sites"]) == (2, {}, ["site0", "site1", "site2"])
    assert "missing: site1" in record["failed"][0]
    assert "at least 3 are needed" in record["failed"][0]
    assert_steps_are_plain_means(history, oracle)
    events = [line["event"] for line in consortium.journal("site0")]
    assert events.count("uploaded") == 4, "three rounds and the last validation are computed once each"
    assert events.count("masked again") == 1
    words = next(line["words"] for line in consortium.journal("site0") if line["event"] == "ended without a sum")
    assert "missing: site1" in words
    assert "its update stays masked and sealed" in words


@pytest.mark.parametrize(("stage", "failed"), [("confirm", 1), ("open", 2)])
def test_an_attempt_that_fails_after_the_uploads_is_tried_again(stage: str, failed: int, tmp_path: Path) -> None:
    """Shares are asked for once more before everybody uploads again."""
    consortium = Consortium.of(private_scenario(5), tmp_path)
    silent = faults(("site1", 2, stage, 1), ("site2", 2, stage, 1), ("site3", 3, "upload", None))
    history, oracle = run(consortium, silent)
    record = history["rounds"][1]
    assert (record["attempts"], len(record["failed"]), len(record["sites"])) == (2, failed, 5)
    assert "site1" in record["failed"][0]
    assert "site2" in record["failed"][0]
    assert_steps_are_plain_means(history, oracle)


def test_shares_that_were_asked_for_bind_the_next_attempt_to_the_same_sites(tmp_path: Path) -> None:
    """site4 is back in attempt 2, but three sites have opened the sum without it: it is not asked again."""
    consortium = Consortium.of(private_scenario(5), tmp_path)
    silent = faults(("site4", 2, "upload", 1), ("site1", 2, "open", 1))
    history, oracle = run(consortium, silent)
    record = history["rounds"][1]
    assert (record["attempts"], record["sites"]) == (2, ["site0", "site1", "site2", "site3"])
    assert "shares were asked for before" in record["dropped"]["site4"]
    assert_steps_are_plain_means(history, oracle)


def test_too_few_sites_end_the_run_and_both_sides_say_who_was_missing(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3), tmp_path)
    with pytest.raises(WardroundError) as refused:
        run(consortium, faults(("site1", 2, "upload", None)))
    assert refused.value.code == "WR-1711"
    for words in ("Round 2", "2 of 3 sites uploaded", "at least 3 are needed", "missing: site1", "nobody learned"):
        assert words in refused.value.what
    assert "after 3 tries in a row" in refused.value.what
    for site in ("site0", "site2"):
        ended = [line["words"] for line in consortium.journal(site) if line["event"] == "ended without a sum"]
        assert len(ended) == 3
        assert all("missing: site1" in words and "has sent no share" in words for words in ended)


def test_a_last_validation_that_fails_is_noted_and_the_model_is_reported(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3, selection={"rule": "last"}), tmp_path)
    silent = [Fault(site="site1", round=4, stage="upload")]
    history, _ = run(consortium, silent)
    assert "not in the last validation" in history["rounds"][-1]["dropped"]["site1"]
    assert max(found["round"] for found in history["validations"]) < 3
    control, _ = run(consortium.again("control"))
    assert not control["rounds"][-1]["dropped"]
    assert max(found["round"] for found in control["validations"]) == 3


def test_a_study_without_validation_patients_needs_no_last_validation(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"selection": {"rule": "last"}, "split": {"validation": 0.0, "test": 0.4}}
    consortium = Consortium.of(private_scenario(3, rounds=2, **sections), tmp_path)
    grid, oracle = watched(consortium)
    history = consortium.coordinate(grid)
    assert history["validations"] == []
    assert oracle.last is None


# Restarts


def restarting(consortium: Consortium) -> tuple[WatchedGrid, Oracle]:
    """Every hospital is restarted before every message: new objects, nothing resident."""
    grid, oracle = watched(consortium)

    def restart(_: Message) -> None:
        hospital_app._hospital.cache_clear()
        hospital_app._models.clear()

    grid.before = restart
    return grid, oracle


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_hospitals_that_restart_before_every_message_go_on(optimizer: str, tmp_path: Path) -> None:
    """The oracle is not restarted: the optimizer's state survives, too."""
    scenario = private_scenario(3, training={"optimizer": optimizer, "learning_rate": 1e-3})
    consortium = Consortium.of(scenario, tmp_path)
    grid, oracle = restarting(consortium)
    assert_steps_are_plain_means(consortium.coordinate(grid), oracle)


class StoppedError(Exception):
    """The coordinator's process ends."""


def stopping(grid: WatchedGrid, answered: int) -> None:
    """End the coordinator when so many messages were answered; the last reply does not reach it."""
    seen: list[Message] = []
    see = grid.after

    def after(message: Message, reply: Message) -> None:
        see(message, reply)
        seen.append(message)
        if len(seen) == answered:
            grid.after = see
            raise StoppedError

    grid.after = after


MESSAGES = 3 + 6 + 2 * 9 + 9 + 3
"""Of a run of two rounds at three sites: hello, session, rounds, last validation, end."""


def goes_on(consortium: Consortium, points: Iterable[int]) -> None:
    """Stop and resume a run of its own after each of these numbers of answers."""
    for answered in points:
        own = consortium.again(f"stopped.{answered}")
        grid, oracle = watched(own)
        stopping(grid, answered)
        with pytest.raises(StoppedError):
            own.coordinate(grid)
        history = own.coordinate(grid)
        assert [record["sites"] for record in history["rounds"]] == [sorted(own.hospitals)] * 2
        assert_steps_are_plain_means(history, oracle)


def test_a_coordinator_that_stops_goes_on(tmp_path: Path) -> None:
    """It stops while sites join, upload, confirm, open, and validate."""
    consortium = Consortium.of(private_scenario(3, rounds=2), tmp_path)
    goes_on(consortium, [5, 8, 20, 23, 26, 32, 38])


@pytest.mark.slow
def test_a_coordinator_that_stops_after_any_message_goes_on(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3, rounds=2), tmp_path)
    goes_on(consortium, range(1, MESSAGES + 1))
    grid, _ = watched(own := consortium.again("whole"))
    stopping(grid, MESSAGES + 1)
    own.coordinate(grid)  # nothing stops it: the loop above went through every message


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3, rounds=2), tmp_path)
    history, _ = run(consortium)
    grid, oracle = watched(consortium)
    assert consortium.coordinate(grid) == history
    assert not oracle.rounds


def test_records_of_another_roster_are_refused(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3, rounds=2), tmp_path)
    grid, _ = watched(consortium)
    stopping(grid, 15)
    with pytest.raises(StoppedError):
        consortium.coordinate(grid)
    other = Consortium.of(private_scenario(3, rounds=2), tmp_path / "other")
    plan = consortium.plan().model_copy(update={"roster": other.plan().roster})
    with pytest.raises(WardroundError) as refused:
        consortium.coordinate(grid, plan)
    assert refused.value.code == "WR-1714"
    consortium.coordinate(grid)


def interrupted(folder: Path) -> tuple[Consortium, WatchedGrid, Home]:
    """A run of three hospitals that was interrupted in its first round, and a hospital that wants to join."""
    consortium = Consortium.of(private_scenario(3, rounds=2), folder)
    grid, _ = watched(consortium)
    stopping(grid, 10)
    with pytest.raises(StoppedError):
        consortium.coordinate(grid)
    return consortium, grid, create_home(folder / "newcomer", SiteId("newcomer"), [], device="cpu", threads=1)


def test_a_run_goes_on_when_another_hospital_joins(tmp_path: Path) -> None:
    consortium, grid, newcomer = interrupted(tmp_path)
    plan, homes = consortium.plan(), [hospital.home for hospital in consortium.hospitals.values()]
    enrol([*homes, newcomer], tmp_path / CONSORTIUM_FOLDER)
    assert {accepted_roster(home).version for home in homes} == {2}
    history = consortium.coordinate(grid, plan)
    assert [record["sites"] for record in history["rounds"]] == [["site0", "site1", "site2"]] * 2


def test_a_run_ends_when_one_of_its_hospitals_gets_another_key(tmp_path: Path) -> None:
    consortium, grid, newcomer = interrupted(tmp_path)
    plan, homes = consortium.plan(), [hospital.home for hospital in consortium.hospitals.values()]
    new_identity(homes[1])
    enrol([*homes, newcomer], tmp_path / CONSORTIUM_FOLDER)
    for roster, refusal in ((plan.roster, "WR-1702"), (consortium.plan().roster, "WR-1714")):
        with pytest.raises(WardroundError, match=refusal):
            consortium.coordinate(grid, plan.model_copy(update={"roster": roster}))


# Who takes part


def test_sites_that_do_not_join_are_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(5, rounds=2), tmp_path)
    roster = consortium.hospitals[SiteId("site4")].home.path / "roster.json"
    roster.unlink()
    history, oracle = run(consortium)
    for record in history["rounds"]:
        assert record["sites"] == ["site0", "site1", "site2", "site3"]
        assert "WR-1702" in record["dropped"]["site4"]
    assert_steps_are_plain_means(history, oracle)


def test_too_few_sites_that_join_are_refused_in_words(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3, rounds=2), tmp_path)
    (consortium.hospitals[SiteId("site2")].home.path / "roster.json").unlink()
    with pytest.raises(WardroundError) as refused:
        run(consortium)
    assert refused.value.code == "WR-1711"
    assert "2 of 3 sites can take part" in refused.value.what
    assert "site2: WR-1702" in refused.value.what


def test_a_round_with_fewer_sites_than_the_study_asks_for_is_not_opened(tmp_path: Path) -> None:
    scenario = private_scenario(5, rounds=2, aggregation={"min_sites": 5})
    consortium = Consortium.of(scenario, tmp_path)
    with pytest.raises(WardroundError, match="at least 5 are needed") as refused:
        run(consortium, faults(("site1", 2, "upload", None)))
    assert refused.value.code == "WR-1711"
    control = Consortium.of(private_scenario(5, rounds=2, aggregation={"min_sites": 4}), tmp_path / "control")
    history, _ = run(control, faults(("site1", 2, "upload", None)))
    assert set(history["rounds"][1]["dropped"]) == {"site1"}


# The end


def test_hospitals_leave_a_finished_run_and_erase_its_secrets(tmp_path: Path) -> None:
    consortium = Consortium.of(private_scenario(3, rounds=2), tmp_path)
    grid, _ = watched(consortium)
    stopping(grid, MESSAGES - 3)  # everything but the end
    with pytest.raises(StoppedError):
        consortium.coordinate(grid)
    folder = consortium.homes[SiteId("site0")] / "secagg"
    assert {path.suffix for path in folder.glob("run.*")} >= {".sqlite", ".update"}
    consortium.coordinate(grid)
    left = {path.name for path in folder.glob("run.*")} - {"run.sqlite-journal"}
    assert left == {"run.sqlite"}
    assert consortium.journal("site0")[-1]["event"] == "left"
    question = ProtocolMessage(study=consortium.study.id, run=StudyRunId("run"), seed=0, content=b"")
    message = grid.create_message(pack(question), JOIN, grid.nodes[SiteId("site0")], "1")
    (reply,) = grid.send_and_receive([message])
    assert reply.has_error()
    assert "WR-1706: This site has left the study run for good." in str(reply.error.reason)
