"""Questions and answers: silent sites are not waited for, and what comes twice or too late answers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.scripted_grid import ScriptedGrid, honest, honest_content, message_to
from flwr.app import Error, Message

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.wire.base import REFUSED
from wardround.common.wire.messages import Hello, HelloReply
from wardround.server.enrol import connected_sites
from wardround.server.exchange import ask, expect
from wardround.server.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable

A, B, C = (SiteId(name) for name in ("a", "b", "c"))
SITES = (A, B, C)
WORDS = "not heard for 40 s"


class PatientGrid(ScriptedGrid):
    """Knows who is silent; ``missing`` never answer."""

    def __init__(self, missing: Iterable[SiteId] = (), **known: object) -> None:
        super().__init__(SITES, dict.fromkeys(missing, lambda *_: []))
        self.surroundings = Surroundings(**known)  # type: ignore[arg-type]


def asked(grid: ScriptedGrid) -> dict[SiteId, str | None]:
    answers = ask(grid, "query.hello", dict.fromkeys(SITES, Hello()), grid.nodes, group="1")
    return {answer.site: answer.reason for answer in answers}


def test_a_site_that_is_silent_is_not_asked() -> None:
    grid = PatientGrid(silent=lambda site: WORDS if site == B else None)
    assert asked(grid) == {A: None, B: WORDS, C: None}
    assert len(grid.asked) == 2
    everybody = PatientGrid()
    assert asked(everybody) == {A: None, B: None, C: None}, "the positive control"
    assert len(everybody.asked) == 3


def test_when_all_are_silent_nobody_is_asked() -> None:
    grid = PatientGrid(silent=lambda _: WORDS)
    assert asked(grid) == dict.fromkeys(SITES, WORDS)
    assert grid.asked == []


def test_a_site_that_falls_silent_is_not_waited_for_any_longer() -> None:
    waits: list[float] = []
    grid = PatientGrid([B], wait=waits.append, silent=lambda site: WORDS if site == B and len(waits) > 3 else None)
    assert asked(grid) == {A: None, B: WORDS, C: None}
    assert len(waits) == 5, "it was waited for before, and no longer than needed"


def test_an_answer_that_comes_twice_or_after_its_site_was_given_up_answers_nothing() -> None:
    late: list[Message] = []

    def keeps(_: ScriptedGrid, site: SiteId, message: Message) -> list[Message]:
        late.append(message_to(message, honest_content(site, message)))
        return []

    def brings(grid: ScriptedGrid, site: SiteId, message: Message) -> list[Message]:
        return [*late, *honest(grid, site, message), *honest(grid, site, message)]

    waits: list[float] = []
    grid = PatientGrid(wait=waits.append, silent=lambda site: WORDS if site == A and late else None)
    grid._scripts = {A: keeps}
    assert asked(grid) == {A: WORDS, B: None, C: None}
    grid._scripts = {B: brings}
    grid.surroundings = Surroundings()
    assert asked(grid) == {A: None, B: None, C: None}, "the late answer was to another question"


def test_who_is_who_is_what_the_runtime_knows() -> None:
    grid = PatientGrid(sites={A: 2, B: 3})
    assert connected_sites(grid) == {A: 2, B: 3}
    assert grid.asked == []
    assert connected_sites(ScriptedGrid(SITES, {})) == {A: 2, B: 3, C: 4}, "the positive control: nodes are asked"


def test_a_refusal_is_told_as_a_phrase_so_that_sentences_end_once() -> None:
    def refuses(_: ScriptedGrid, __: SiteId, message: Message) -> list[Message]:
        return [Message(Error(REFUSED, "WR-1306: It cannot."), reply_to=message)]

    grid = ScriptedGrid(SITES, {B: refuses})
    (said,) = (answer for answer in ask(grid, "query.hello", {B: Hello()}, grid.nodes, group="1"))
    assert said.reason == "WR-1306: It cannot"
    with pytest.raises(WardroundError) as refusal:
        expect(said, HelloReply)
    assert refusal.value.what == "Site b did not answer: WR-1306: It cannot."
    assert refusal.value.phrase == "WR-1306: Site b did not answer: WR-1306: It cannot"
