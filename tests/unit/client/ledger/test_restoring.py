"""A restore from backup charges the worst that can have happened, as far as heads tell."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from fakes.ledgers import KEY, NOW, RUN, cohort, ledger, limited, reserve, spend

from wardround.client.ledger.place import read_head
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.privacy.witness import Bound, Head, SignedHead

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.ledger.events import Restored
    from wardround.client.ledger.ledger import Ledger

ALL, OTHERS = cohort(range(20)), cohort(range(10, 30))
NONCE = bytes(range(32))
LIMIT = Bound(epsilon=8.0, delta=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of which a backup was taken after the second of ten rounds; four are spent now."""
    made = tmp_path_factory.mktemp("whole")
    book = limited(made)
    reserve(book, ALL)
    for number in (1, 2):
        spend(book, ALL, number)
    shutil.copyfile(made / "ledger.sqlite", made / "backup")
    for number in (3, 4):
        spend(book, ALL, number)
    return made


@pytest.fixture
def backup(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path / "backup"


def restore(folder: Path, *heads: SignedHead) -> Restored:
    return ledger(folder).restore(folder / "backup", admin="Ada", reason="disk failed", now=NOW, heads=heads)


def lose(folder: Path) -> None:
    (folder / "ledger.sqlite").unlink()


def test_open_reservations_count_as_spent(tmp_path: Path, backup: Path) -> None:
    content = backup.read_bytes()
    lose(tmp_path)
    before = ledger(tmp_path)
    event = restore(tmp_path)
    assert event.lost is None
    state = ledger(tmp_path).check()
    run = state.runs[RUN]
    assert (run.spent_steps, run.committed_steps, run.settled, run.written_off) == (100, 100, True, True)
    assert state.incarnation == event.incarnation
    assert state.sequence == 7
    with pytest.raises(WardroundError, match="WR-1815"):
        spend(before, ALL, 5)
    with pytest.raises(WardroundError, match="WR-1815"):
        reserve(before, ALL)
    reserve(before, ALL, run="next", rounds=1)
    assert backup.read_bytes() == content


def test_what_was_settled_stays_as_it_was(tmp_path: Path) -> None:
    book = limited(tmp_path)
    reserve(book, ALL)
    spend(book, ALL, 1)
    book.settle(RUN, now=NOW)
    shutil.copyfile(tmp_path / "ledger.sqlite", tmp_path / "backup")
    lose(tmp_path)
    assert restore(tmp_path).lost is None
    run = ledger(tmp_path).state().runs[RUN]
    assert (run.spent_steps, run.written_off) == (10, False)


def committing(book: Ledger, what: str) -> None:
    if what == "reserved":
        reserve(book, OTHERS, run="later")
    elif what == "computed again":
        spend(book, ALL, 1, computation=2)
    elif what == "settled":
        book.settle(RUN, now=NOW)
    elif what == "withdrawn":
        book.withdraw(cohort([1]), now=NOW)
    else:
        book.set_limit(8.0, 1e-5, admin="Ada", reason="once more", now=NOW)


@pytest.mark.parametrize("what", ["reserved", "computed again", "settled", "withdrawn", "limit"])
def test_anything_else_that_is_lost_costs_the_whole_limit(tmp_path: Path, backup: Path, what: str) -> None:
    assert backup.exists()
    committing(ledger(tmp_path), what)
    lose(tmp_path)
    assert restore(tmp_path).lost == LIMIT
    book = ledger(tmp_path)
    with pytest.raises(WardroundError, match="WR-1807"):
        reserve(book, OTHERS, run="again")
    with pytest.raises(WardroundError, match="WR-1807"):
        reserve(book, cohort([77]), run="stranger")
    book.set_limit(14.0, 1e-5, admin="Ada", reason="delta is used up", now=NOW)
    with pytest.raises(WardroundError, match="WR-1807"):
        reserve(book, OTHERS, run="again")
    book.set_limit(14.0, 2e-5, admin="Ada", reason="after the loss", now=NOW)
    reserve(book, OTHERS, run="again")


def test_without_any_head_the_worst_is_assumed(tmp_path: Path, backup: Path) -> None:
    assert backup.exists()
    newest = ledger(tmp_path).signed_head(NONCE)
    lose(tmp_path)
    (tmp_path / "ledger.head").unlink()
    assert restore(tmp_path).lost == LIMIT
    assert ledger(tmp_path).check().lost == LIMIT
    # the control: with the head that a witness has, only the reservation is charged
    for name in ("ledger.sqlite", "ledger.head"):
        (tmp_path / name).unlink()
    assert restore(tmp_path, newest).lost is None


def test_the_highest_limit_is_charged_that_any_head_knows(tmp_path: Path, backup: Path) -> None:
    assert backup.exists()
    book = ledger(tmp_path)
    book.set_limit(20.0, 1e-5, admin="Ada", reason="raised", now=NOW)
    book.set_limit(5.0, 1e-5, admin="Ada", reason="lowered", now=NOW)
    lose(tmp_path)
    assert restore(tmp_path).lost == Bound(epsilon=20.0, delta=1e-5)


def test_a_second_restore_does_not_forget_the_first(tmp_path: Path, backup: Path) -> None:
    assert backup.exists()
    reserve(ledger(tmp_path), OTHERS, run="later")
    lose(tmp_path)
    assert restore(tmp_path).lost == LIMIT
    lose(tmp_path)
    assert restore(tmp_path).lost == LIMIT
    assert ledger(tmp_path).check().lost == LIMIT


def test_a_whole_ledger_is_not_exchanged_for_an_older_one(tmp_path: Path, backup: Path) -> None:
    with pytest.raises(WardroundError, match="has events that the backup lacks"):
        restore(tmp_path)
    assert ledger(tmp_path).check().runs[RUN].spent_steps == 40
    assert backup.exists()


def test_the_newest_copy_may_take_the_place_of_a_rolled_back_one(tmp_path: Path, backup: Path) -> None:
    newest = tmp_path / "newest"
    shutil.copyfile(tmp_path / "ledger.sqlite", newest)
    shutil.copyfile(backup, tmp_path / "ledger.sqlite")
    with pytest.raises(WardroundError, match="WR-1812"):
        ledger(tmp_path).state()
    event = ledger(tmp_path).restore(newest, admin="Ada", reason="rolled back by mistake", now=NOW)
    assert event.lost is None
    assert ledger(tmp_path).check().runs[RUN].computations == {1: 1, 2: 1, 3: 1, 4: 1}
    replaced = next(tmp_path.glob("ledger.replaced-*.sqlite"))
    assert replaced.read_bytes() == backup.read_bytes()


def test_a_damaged_ledger_or_head_does_not_keep_the_backup_out(tmp_path: Path, backup: Path) -> None:
    assert backup.exists()
    (tmp_path / "ledger.sqlite").write_bytes(b"garbage")
    (tmp_path / "ledger.sqlite-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    (tmp_path / "ledger.head").write_bytes(b"garbage")
    assert restore(tmp_path).lost == LIMIT
    assert ledger(tmp_path).check().sequence == 7


def test_a_damaged_or_foreign_backup_is_refused_and_nothing_changes(tmp_path: Path, backup: Path) -> None:
    content = (tmp_path / "ledger.sqlite").read_bytes()
    whole = backup.read_bytes()
    backup.write_bytes(whole[:-4096])
    with pytest.raises(WardroundError, match="WR-1811"):
        restore(tmp_path)
    backup.unlink()
    with pytest.raises(WardroundError, match="WR-1813"):
        restore(tmp_path)
    backup.write_bytes(whole)
    with pytest.raises(WardroundError, match="WR-1814"):
        ledger(tmp_path, secret="00" * 32).restore(backup, admin="Ada", reason="why", now=NOW)
    with pytest.raises(ValueError, match="admin"):
        ledger(tmp_path).restore(tmp_path / "ledger.sqlite", admin="", reason="why", now=NOW)
    assert (tmp_path / "ledger.sqlite").read_bytes() == content
    assert ledger(tmp_path).check().runs[RUN].spent_steps == 40
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_a_backup_before_the_first_limit_needs_a_head(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.withdraw(cohort([1]), now=NOW)
    shutil.copyfile(tmp_path / "ledger.sqlite", tmp_path / "backup")
    book.set_limit(8.0, 1e-5, admin="Ada", reason="a test", now=NOW)
    head = (tmp_path / "ledger.head").read_bytes()
    lose(tmp_path)
    (tmp_path / "ledger.head").unlink()
    with pytest.raises(WardroundError, match="WR-1812"):
        restore(tmp_path)
    (tmp_path / "ledger.head").write_bytes(head)
    assert restore(tmp_path).lost == LIMIT


def test_a_crash_between_the_file_and_its_head_is_mended(tmp_path: Path, backup: Path) -> None:
    assert backup.exists()
    old = (tmp_path / "ledger.head").read_bytes()
    lose(tmp_path)
    restore(tmp_path)
    (tmp_path / "ledger.head").write_bytes(old)
    state = ledger(tmp_path).check()
    head = read_head(tmp_path)
    assert head is not None
    assert head.digest == state.digest.hex()


# witnesses


def test_a_witness_finds_a_rollback_of_the_whole_folder(tmp_path: Path, backup: Path) -> None:
    book = ledger(tmp_path)
    copied = {name: (tmp_path / name).read_bytes() for name in ("ledger.sqlite", "ledger.head")}
    old = book.signed_head(NONCE)
    spend(book, ALL, 5)
    newest = book.signed_head(NONCE)
    book.check_witness([old, newest, None])
    for name, content in copied.items():
        (tmp_path / name).write_bytes(content)
    assert ledger(tmp_path).state().sequence == old.head.sequence  # nothing here tells
    ledger(tmp_path).check_witness([old])
    with pytest.raises(WardroundError, match="WR-1812"):
        ledger(tmp_path).check_witness([old, newest])
    with pytest.raises(WardroundError, match="WR-1812"):
        ledger(tmp_path).spend(RUN, 5, 1, ALL, now=NOW, witness=[newest])
    ledger(tmp_path).spend(RUN, 5, 1, ALL, now=NOW, witness=[old])
    assert backup.exists()


def test_spending_fails_closed_where_a_witness_is_required(tmp_path: Path, backup: Path) -> None:
    book = ledger(tmp_path, witness=True)
    for nobody in (None, []):
        with pytest.raises(WardroundError, match="WR-1816"):
            book.spend(RUN, 5, 1, ALL, now=NOW, witness=nobody)
    with pytest.raises(WardroundError, match="WR-1816"):
        book.check_witness([])
    book.spend(RUN, 5, 1, ALL, now=NOW, witness=[None])  # a witness was heard; it has no head yet
    ledger(tmp_path).spend(RUN, 6, 1, ALL, now=NOW)
    assert backup.exists()


def test_a_head_of_another_key_or_site_is_refused(tmp_path: Path, backup: Path) -> None:
    book = ledger(tmp_path)
    own = book.signed_head(NONCE)
    forged = SignedHead.sign(own.head, NONCE.hex(), SigningKey(bytes(32)))
    with pytest.raises(WardroundError, match="WR-1816"):
        book.check_witness([forged])
    elsewhere = SignedHead.sign(own.head.model_copy(update={"site": "south"}), NONCE.hex(), KEY)
    with pytest.raises(WardroundError, match="WR-1812"):
        book.check_witness([elsewhere])
    book.check_witness([own])
    assert backup.exists()


def test_heads_from_before_a_restore_are_covered_by_what_it_charged(tmp_path: Path, backup: Path) -> None:
    assert backup.exists()
    after = ledger(tmp_path).signed_head(NONCE)
    lose(tmp_path)
    assert restore(tmp_path).lost is None
    ledger(tmp_path).check_witness([after])  # only draws on the reservation were lost


def test_a_head_that_the_restore_did_not_know_of_is_refused(tmp_path: Path, backup: Path) -> None:
    assert backup.exists()
    book = ledger(tmp_path)
    old = (tmp_path / "ledger.head").read_bytes()
    reserve(book, OTHERS, run="later")
    after = book.signed_head(NONCE)
    lose(tmp_path)
    (tmp_path / "ledger.head").write_bytes(old)
    assert restore(tmp_path).lost is None
    with pytest.raises(WardroundError, match="WR-1812"):
        ledger(tmp_path).check_witness([after])
    event = ledger(tmp_path).restore(
        tmp_path / "ledger.sqlite", admin="Ada", reason="a witness knows more", now=NOW, heads=[after]
    )
    assert event.lost == LIMIT
    ledger(tmp_path).check_witness([after])


def test_a_head_of_a_higher_limit_than_was_charged_is_refused(tmp_path: Path, backup: Path) -> None:
    assert backup.exists()
    book = ledger(tmp_path)
    reserve(book, OTHERS, run="later")
    known = (tmp_path / "ledger.head").read_bytes()
    within = book.signed_head(NONCE)
    book.set_limit(20.0, 1e-5, admin="Ada", reason="raised", now=NOW)
    beyond = book.signed_head(NONCE)
    lose(tmp_path)
    (tmp_path / "ledger.head").write_bytes(known)
    assert restore(tmp_path).lost == LIMIT
    ledger(tmp_path).check_witness([within])
    with pytest.raises(WardroundError, match="WR-1812"):
        ledger(tmp_path).check_witness([beyond])


def test_a_head_says_nothing_of_patients_or_studies() -> None:
    assert set(Head.model_fields) == {"site", "incarnation", "sequence", "digest", "committed", "ceiling"}
