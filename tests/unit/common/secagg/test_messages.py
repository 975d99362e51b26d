"""Every message has the size that the protocol's document states, one encoding, and no room for anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wardround.common.errors import WardroundError
from wardround.common.secagg.messages import (
    Advert,
    AttemptEnded,
    Confirmation,
    ConfirmRequest,
    Joined,
    Opening,
    OpenRequest,
    Stage,
    Survivors,
    Upload,
    advert_statement,
    decode_adverts,
    encode_adverts,
    packet_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RC, HEAD = b"r" * 32, b"h" * 32
SIGNATURE = b"s" * 64


def packets(sites: int, senders: Sequence[int]) -> dict[int, bytes]:
    return {sender: bytes([sender]) * packet_bytes(sites) for sender in senders}


def upload(sites: int, position: int) -> Upload:
    hashes = tuple(bytes([number]) * 32 for number in range(sites))
    return Upload(position, RC, hashes, packets(sites, [other for other in range(sites) if other != position]))


def confirm_request(sites: int, survivors: Sequence[int], receiver: int) -> ConfirmRequest:
    senders = [sender for sender in survivors if sender != receiver]
    return ConfirmRequest(Survivors(RC, tuple(survivors), HEAD), packets(sites, senders))


def open_request(sites: int, survivors: Sequence[int], signed: Sequence[int]) -> OpenRequest:
    return OpenRequest(Survivors(RC, tuple(survivors), HEAD), dict.fromkeys(signed, SIGNATURE), packets(sites, []))


@pytest.mark.parametrize(("sites", "size"), [(3, 34 + 3 * 32 + 2 * 131), (10, 34 + 10 * 32 + 9 * 362), (50, 84_052)])
def test_the_size_of_an_upload(sites: int, size: int) -> None:
    assert len(upload(sites, 1).encode()) == size == 34 + 32 * sites + (sites - 1) * (33 * sites + 32)


def test_fifty_sites_send_82_kb_of_packets_each() -> None:
    assert 49 * packet_bytes(50) == 82_418


@pytest.mark.parametrize(("survivors", "size"), [(50, 1_684), (49, 3_268), (34, 19_108)])
def test_the_size_of_an_opening_of_fifty_sites(survivors: int, size: int) -> None:
    shares = bytes(33 * survivors * (1 + 50 - survivors))
    message = Opening(7, RC, shares).encode()
    assert len(message) == size
    assert Opening.decode(message, 50, survivors) == Opening(7, RC, shares)


@pytest.mark.parametrize("sites", [3, 10, 50])
def test_the_sizes_of_all_other_messages(sites: int) -> None:
    everyone = range(sites)
    assert len(Advert(1, b"m" * 32, b"s" * 32, SIGNATURE).encode()) == 130
    assert len(encode_adverts((b"a" * 130,) * sites)) == 130 * sites
    assert len(Joined(1, RC).encode()) == 34
    expected = 68 + 2 * sites + (sites - 1) * (33 * sites + 34)
    assert len(confirm_request(sites, everyone, 1).encode(sites)) == expected
    assert len(Confirmation(1, RC, SIGNATURE).encode()) == 98
    assert len(open_request(sites, everyone, everyone[1:]).encode(sites)) == 70 + 2 * sites + 66 * (sites - 1)
    assert len(AttemptEnded(RC, Stage.OPEN, 3, tuple(everyone)).encode()) == 66 + 2 * sites + 3


def test_the_protocols_page_states_the_sizes_of_fifty_sites(root: Path) -> None:
    page = (root / "common/secagg/README.md").read_text(encoding="utf-8")
    everyone = range(50)
    sizes = {
        "Upload": len(upload(50, 1).encode()),
        "ConfirmRequest": len(confirm_request(50, everyone, 1).encode(50)),
        "OpenRequest": len(open_request(50, everyone, everyone).encode(50)),
        "Opening": len(Opening(1, RC, bytes(33 * 34 * 17)).encode()),
    }
    for name, size in sizes.items():
        row = next(line for line in page.splitlines() if f"| `{name}`: " in line)
        assert f"{size:,} |" in row


def test_the_statement_of_a_confirmation_by_hand() -> None:
    statement = Survivors(RC, (0, 2, 258), HEAD).statement()
    assert statement == RC + b"\x00\x03" + b"\x00\x00" + b"\x00\x02" + b"\x01\x02" + HEAD


def test_an_advert_is_signed_with_its_session_position_and_both_keys() -> None:
    statement = advert_statement(b"S" * 32, 258, b"m" * 32, b"s" * 32)
    assert statement == b"S" * 32 + b"\x01\x02" + b"m" * 32 + b"s" * 32


def test_everything_comes_back_as_it_was_sent() -> None:
    advert = Advert(1, b"m" * 32, b"s" * 32, SIGNATURE)
    assert Advert.decode(advert.encode()) == advert
    assert decode_adverts(encode_adverts((b"a" * 130, b"b" * 130)), 2) == (b"a" * 130, b"b" * 130)
    assert Joined.decode(Joined(1, RC).encode()) == Joined(1, RC)
    assert Upload.decode(upload(4, 2).encode(), 4) == upload(4, 2)
    asked = confirm_request(4, (0, 1, 3), 1)
    assert ConfirmRequest.decode(asked.encode(4), 4) == asked
    assert Confirmation.decode(Confirmation(1, RC, SIGNATURE).encode()) == Confirmation(1, RC, SIGNATURE)
    opening = replace(open_request(4, (0, 1, 3), (0, 3)), packets=packets(4, (0, 3)))
    assert OpenRequest.decode(opening.encode(4), 4) == opening
    ended = AttemptEnded(RC, Stage.CONFIRM, 3, (1, 3))
    assert AttemptEnded.decode(ended.encode(), 4) == ended


@pytest.mark.parametrize(
    ("survivors", "refusal"),
    [
        ((0, 1, 1), "ascending order, or names a site twice"),
        ((1, 0), "ascending order"),
        ((0, 4), "site number 4 of a cohort of 4"),
        ((0, 1, 2, 3, 4), "larger than the cohort"),
    ],
)
def test_what_is_no_survivor_set(survivors: tuple[int, ...], refusal: str) -> None:
    for message, decode in [
        (ConfirmRequest(Survivors(RC, survivors, HEAD), {}).encode(4), ConfirmRequest.decode),
        (OpenRequest(Survivors(RC, survivors, HEAD), {}, {}).encode(4), OpenRequest.decode),
        (AttemptEnded(RC, Stage.OPEN, 3, survivors).encode(), AttemptEnded.decode),
    ]:
        with pytest.raises(WardroundError, match=f"WR-1701.*{refusal}"):
            decode(message, 4)


def test_positions_outside_the_cohort_are_refused() -> None:
    with pytest.raises(WardroundError, match=r"WR-1701.*upload names site number 4 of a cohort of 4"):
        Upload.decode(b"\x00\x04" + upload(4, 1).encode()[2:], 4)
    with pytest.raises(WardroundError, match=r"WR-1701.*list of packets names site number 9"):
        ConfirmRequest.decode(replace(confirm_request(4, (0, 1), 1), packets=packets(4, (9,))).encode(4), 4)
    with pytest.raises(WardroundError, match=r"WR-1701.*list of signatures names site number 4"):
        OpenRequest.decode(open_request(4, (0, 1), (0, 4)).encode(4), 4)


def test_lists_ascend_and_name_nobody_twice() -> None:
    survivors = Survivors(RC, (0, 1, 2), HEAD).statement()
    packet, signed = bytes(packet_bytes(4)), SIGNATURE
    for first, second in [(b"\x00\x01", b"\x00\x01"), (b"\x00\x02", b"\x00\x00")]:
        ConfirmRequest.decode(survivors + b"\x00\x01" + first + packet, 4)
        with pytest.raises(WardroundError, match=r"WR-1701.*list of packets is not in ascending order"):
            ConfirmRequest.decode(survivors + b"\x00\x02" + first + packet + second + packet, 4)
        OpenRequest.decode(survivors + b"\x00\x01" + first + signed + b"\x00\x00", 4)
        with pytest.raises(WardroundError, match=r"WR-1701.*list of signatures is not in ascending order"):
            OpenRequest.decode(survivors + b"\x00\x02" + first + signed + second + signed + b"\x00\x00", 4)


def test_an_attempt_that_ended_has_no_head() -> None:
    written = AttemptEnded(RC, Stage.OPEN, 3, (0, 1)).encode()
    AttemptEnded.decode(written, 4)
    with pytest.raises(WardroundError, match=r"WR-1701.*no log head"):
        AttemptEnded.decode(written[:-4] + b"\x01" + written[-3:], 4)


@pytest.mark.parametrize("stage", [0, 4, 255])
def test_an_attempt_ends_at_a_stage_that_there_is(stage: int) -> None:
    written = bytearray(AttemptEnded(RC, Stage.OPEN, 3, (0, 1)).encode())
    written[-3] = stage
    with pytest.raises(WardroundError, match=r"WR-1701.*unknown stage"):
        AttemptEnded.decode(bytes(written), 4)


def test_a_message_of_another_cohort_is_refused() -> None:
    with pytest.raises(WardroundError, match=r"WR-1701.*truncated"):
        Upload.decode(upload(3, 1).encode(), 4)
    with pytest.raises(WardroundError, match=r"WR-1701.*longer"):
        Upload.decode(upload(5, 1).encode(), 4)
    with pytest.raises(WardroundError, match=r"WR-1701.*truncated"):
        decode_adverts(b"a" * 130 * 3, 4)
    with pytest.raises(WardroundError, match=r"WR-1701.*longer"):
        Opening.decode(Opening(1, RC, bytes(33 * 3 * 2)).encode(), 4, 4)


def test_packets_and_shares_are_never_shown() -> None:
    shown = repr(upload(3, 1)) + repr(confirm_request(3, (0, 1, 2), 1)) + repr(Opening(1, RC, b"\x07" * 33 * 3))
    assert "packets" not in shown
    assert "x07" not in shown
