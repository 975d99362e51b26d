"""What people read: accounts, exports, pictures."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.ledgers import MECHANISM, NOW, RUN, cohort, key, ledger, limited, reserve, spend, study
from matplotlib.image import imread

from wardround.client.ledger.accounts import LOST, accounts, moments
from wardround.client.ledger.export import as_csv, as_json, check_export
from wardround.client.ledger.picture import picture
from wardround.common.errors import WardroundError
from wardround.common.privacy import pld
from wardround.common.privacy.calibration import multiplier_for
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.rdp import ORDERS, budget, rdp
from wardround.common.privacy.witness import Bound

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from wardround.client.ledger.ledger import Ledger

COST = rdp(MECHANISM, ORDERS)


def epsilon(steps: int) -> float:
    """Of the filter, at delta 1e-5, by the budget's definition."""
    return 1.0 + float((steps * COST - budget(1.0, 1e-5, ORDERS)).min())


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    """Two overlapping studies; the patients of both are the most burdened ones."""
    made = limited(tmp_path)
    reserve(made, cohort(range(20)), of=study(1))
    reserve(made, cohort(range(10, 30)), run="second", of=study(2), rounds=5)
    for number in (1, 2, 3):
        spend(made, cohort(range(20)), number)
    spend(made, cohort(range(10, 30)), 1, run="second")
    spend(made, cohort(range(10, 30)), 1, run="second", computation=2)
    made.settle(RUN, now=NOW)
    made.withdraw(cohort([29, 77]), now=NOW)
    return made


def test_accounts_add_up(book: Ledger) -> None:
    found = accounts(book.state())
    assert (found.site, found.patients, found.withdrawn, found.delta) == ("north", 30, 2, 1e-5)
    assert found.spent == pytest.approx(epsilon(50))
    assert found.committed == pytest.approx(epsilon(30 + 60))
    assert found.left == pytest.approx(8.0 - epsilon(90))
    first, second = found.runs
    assert (first.begun, first.again, first.ended, first.patients) == (3, 0, "settled", 20)
    assert (second.begun, second.again, second.ended, second.rounds) == (1, 1, None, 5)
    assert second.tight_spent == pld.epsilon(MECHANISM, 20, 1e-5)
    assert second.tight_reserved == pld.epsilon(MECHANISM, 60, 1e-5)
    assert second.tight_spent < second.enforced_spent == pytest.approx(epsilon(20))


def test_the_json_form_has_no_numbers_that_json_lacks(tmp_path: Path) -> None:
    made = limited(tmp_path, None)
    reserve(made, cohort([1]), mechanism=None)
    spend(made, cohort([1]), 1)
    found = accounts(made.state())
    assert math.isinf(found.spent)
    fields = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (fields["spent"], fields["left"], fields["runs"][0]["tight_spent"]) == ("infinite", "infinite", "infinite")
    assert fields["limit"]["limit"] == {"epsilon": "infinite", "delta": 0.0}


def test_a_folder_without_ledger_has_empty_accounts(tmp_path: Path) -> None:
    found = accounts(ledger(tmp_path).state())
    assert (found.site, found.events, found.limit, found.left, found.runs) == (None, 0, None, None, ())


def test_moments_are_the_way_to_the_accounts(book: Ledger) -> None:
    history = moments(book.events(), book.state().cohorts, 100)
    assert [moment.event for moment in history] == list(range(1, book.state().sequence + 1))
    found = accounts(book.state())
    for moment in history:
        assert sum(moment.shares.values()) <= moment.committed + 1e-12
    last = history[-1]
    assert last.shares == pytest.approx({study(1): epsilon(30), study(2): epsilon(50) - epsilon(30)})
    assert (sum(last.shares.values()), last.committed) == pytest.approx((found.spent, found.committed))
    few = moments(book.events(), book.state().cohorts, 3)
    assert len(few) < len(history)
    assert few[-1] == last


def test_what_was_lost_has_its_share(book: Ledger) -> None:
    (book.folder / "ledger.head").unlink()
    (book.folder / "ledger.sqlite").rename(book.folder / "backup")
    book.restore(book.folder / "backup", admin="Ada", reason="a test", now=NOW)
    book.set_limit(20.0, 3e-5, admin="Ada", reason="after the loss", now=NOW)
    found = accounts(book.state())
    assert found.lost == Bound(epsilon=8.0, delta=1e-5)
    assert found.spent == found.committed > 8.0
    assert [run.ended for run in found.runs] == ["settled", "written off"]
    last = moments(book.events(), book.state().cohorts, 100)[-1]
    assert last.shares[LOST] == 8.0
    assert sum(last.shares.values()) == pytest.approx(found.spent)
    assert picture("north", found.delta, [last])


def test_an_export_is_checked_without_the_ledger(book: Ledger) -> None:
    text = as_json(book.events())
    assert check_export(text.encode()) == (book.state().sequence, book.state().digest.hex())
    for patient in (1, 15, 29, 77):
        assert key(patient) not in text
    assert {event["event"]["kind"] for event in json.loads(text)["events"]} == {
        "opened", "limit_set", "cohort", "reserved", "spent", "settled", "withdrawn",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"epsilon": 8', '"epsilon": 7'),
        ('"admin": "Ada"', '"admin": "Eve"'),
        ('"round": 2', '"round": 4'),
        ('"sequence": 3', '"sequence": 4'),
        ('"schema": 1', '"schema": 2'),
        ('"kind": "settled"', '"kind": "freed"'),
    ],
)
def test_a_changed_export_is_found(book: Ledger, old: str, new: str) -> None:
    text = as_json(book.events())
    check_export(text.encode())
    assert old in text
    with pytest.raises(WardroundError, match="WR-1811"):
        check_export(text.replace(old, new, 1).encode())


def test_a_shortened_export_is_found_by_what_is_missing_inside(book: Ledger) -> None:
    document = json.loads(as_json(book.events()))
    for gone in (0, 4):
        events = document["events"][:gone] + document["events"][gone + 1 :]
        with pytest.raises(WardroundError, match="WR-1811"):
            check_export(json.dumps(document | {"events": events}).encode())
    assert check_export(json.dumps(document | {"events": document["events"][:-1]}).encode())[0] == len(events)


def test_the_csv_form_has_a_line_an_event_and_no_formulas(book: Ledger) -> None:
    book.set_limit(9.0, 1e-5, admin="Ada", reason='=HYPERLINK("x")', now=NOW)
    rows = list(csv.DictReader(io.StringIO(as_csv(book.events()))))
    assert len(rows) == book.state().sequence
    assert [row["kind"] for row in rows[:2]] == ["opened", "limit_set"]
    assert (rows[1]["epsilon"], rows[1]["delta"], rows[1]["admin"]) == ("8", "1e-05", "Ada")
    assert rows[-1]["reason"] == '\'=HYPERLINK("x")'
    assert rows[-1]["digest"] == book.state().digest.hex()


LIMIT_COLOUR, FIRST_COLOUR = (0xD5, 0x5E, 0x00), (0x33, 0x22, 0x88)


def painted(png: bytes, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where a picture has a colour, its legend left out."""
    pixels = np.rint(imread(io.BytesIO(png))[..., :3] * 255).astype(int)
    return np.asarray((pixels[:, : pixels.shape[1] * 3 // 4] == colour).all(axis=2))


def test_the_picture_shows_studies_below_the_limit(book: Ledger) -> None:
    found = accounts(book.state())
    history = moments(book.events(), book.state().cohorts, 100)
    png = picture("north", found.delta, history)
    assert png == picture("north", found.delta, history)
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (1440, 690)
    rows = {}
    for name, colour in {"limit": LIMIT_COLOUR, "first": FIRST_COLOUR, "second": (0xCC, 0x66, 0x77)}.items():
        found_at = np.argwhere(painted(png, colour))
        assert len(found_at) > 100, name
        rows[name] = found_at[:, 0].mean()
    assert rows["limit"] < rows["second"] < rows["first"]  # from the top


def test_a_picture_of_many_studies_and_of_none(tmp_path: Path) -> None:
    made = limited(tmp_path, 1000.0)
    assert picture("north", 1e-5, moments(made.events(), {}, 100))
    for number in range(13):
        reserve(made, cohort([1]), run=f"r{number}", of=study(number), rounds=1)
        spend(made, cohort([1]), 1, run=f"r{number}")
    assert picture("north", 1e-5, moments(made.events(), made.state().cohorts, 100))


def test_the_page_shows_what_the_program_computes(root: Path) -> None:
    page = (root / "deploy" / "docs" / "ledger.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith(("| epsilon of", "| counts", "| five"))]
    targets, *shown = [[float(cell) for cell in row.strip("| ").split("|")[1:]] for row in rows]
    for column, target in enumerate(targets):
        step = SampledGaussian(0.1, multiplier_for(0.1, 100, target, 1e-5))
        costs = 100 * rdp(step, ORDERS)
        enforced = [1.0 + float((times * costs - budget(1.0, 1e-5, ORDERS)).min()) for times in (1, 5)]
        figures = [*enforced, pld.epsilon(step, 500, 1e-5)]
        assert figures == pytest.approx([row[column] for row in shown], rel=0.01)
    floor = float(re.findall(r"a limit below ([0-9.]+)", " ".join(page.split()))[0])
    assert 0 < budget(floor, 1e-5, ORDERS).max() < 0.1


@pytest.mark.parametrize("epsilon", [8.0, None])
def test_a_limit_is_drawn_with_its_value_and_none_is_words_without_a_line(
    tmp_path: Path, epsilon: float | None
) -> None:
    made = limited(tmp_path, epsilon)
    reserve(made, cohort([1]), rounds=2)
    mine = painted(picture("north", 1e-5, moments(made.events(), made.state().cohorts, 100)), LIMIT_COLOUR)
    line, words = mine.sum(axis=1) > 200, mine.sum(axis=1) > 0
    assert line.any() == (epsilon is not None)
    assert (words & ~line).sum() > 5  # lines of pixels of the writing


def test_what_came_with_the_last_event_can_be_seen(tmp_path: Path) -> None:
    made = limited(tmp_path)
    reserve(made, cohort([1]), rounds=2)
    before = picture("north", 1e-5, moments(made.events(), made.state().cohorts, 100))
    assert not painted(before, FIRST_COLOUR).any()
    spend(made, cohort([1]), 1)
    after = picture("north", 1e-5, moments(made.events(), made.state().cohorts, 100))
    assert painted(after, FIRST_COLOUR).sum() > 1000
