"""A site at every stage, handed every message of a run: an answer that was given before, or a refusal; no harm done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.secagg import Consortium, model_of
from fakes.secagg_run import VICTIM, HonestRun, new_consortium

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.common.secagg.site import Site

TO_A_SITE = ("offer", "adverts", "request", "confirm", "open")
ANSWERS = {"offer": "advert", "adverts": "joined", "request": "upload", "confirm": "confirmation", "open": "opening"}


@pytest.fixture(scope="module")
def recorded() -> dict[str, bytes]:
    """By step: what reached, or left, one site in an honest run."""
    run = HonestRun()
    assert run.total() is not None
    return {step: message for (step, name), message in run.messages.items() if name == VICTIM}


def hand_over(consortium: Consortium, step: str, message: bytes) -> bytes:
    """The site's answer, all the way to the upload where a round is requested."""
    site: Site = consortium.sites[VICTIM]
    if step == "request":
        attempt = site.begin(message, model_of(1))
        if not attempt.computed:
            site.keep(consortium.update(VICTIM))
        return site.upload()
    answers = {"offer": site.advertise, "adverts": site.join, "confirm": site.confirm, "open": site.open}
    return answers[step](message)


@pytest.mark.parametrize("stage", range(len(TO_A_SITE) + 1))
@pytest.mark.parametrize("step", TO_A_SITE)
def test_earlier_messages_get_the_same_answer_and_later_ones_none(
    recorded: dict[str, bytes], stage: int, step: str
) -> None:
    consortium = new_consortium()
    for done in TO_A_SITE[:stage]:
        hand_over(consortium, done, recorded[done])
    if TO_A_SITE.index(step) <= stage:
        assert hand_over(consortium, step, recorded[step]) == recorded[ANSWERS[step]]
    else:
        with pytest.raises(WardroundError, match="WR-1706"):
            hand_over(consortium, step, recorded[step])
    for honest in TO_A_SITE:  # whatever came, the run goes on
        assert hand_over(consortium, honest, recorded[honest]) == recorded[ANSWERS[honest]]


@pytest.mark.parametrize("stage", range(len(TO_A_SITE) + 1))
@pytest.mark.parametrize("step", TO_A_SITE)
def test_a_run_that_is_left_stays_closed(recorded: dict[str, bytes], stage: int, step: str) -> None:
    consortium = new_consortium()
    for done in TO_A_SITE[:stage]:
        hand_over(consortium, done, recorded[done])
    consortium.sites[VICTIM].leave()
    for _ in range(2):
        with pytest.raises(WardroundError, match=r"WR-1706.*left the study run for good"):
            hand_over(consortium, step, recorded[step])
        consortium.restart(VICTIM)
