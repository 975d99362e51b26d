"""What a coordinator can get wrong on purpose in steps 4 and 5; the site refuses, then takes the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardround.common.errors import WardroundError
from wardround.common.secagg.messages import ConfirmRequest, OpenRequest, packet_bytes
from wardround.simulations.attacks.coordinator import HEAD
from wardround.simulations.attacks.lab import Lab, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardround.simulations.attacks.coordinator import View

N = 5
ALL = tuple(range(N))
VICTIM = 1


@pytest.fixture
def lab() -> Lab:
    return Lab(Setting.usual(N))


@pytest.fixture
def view(lab: Lab) -> View:
    return lab.uploaded(lab.first_session())


def _confirm(view: View, sites: tuple[int, ...], packets: Mapping[int, bytes]) -> bytes:
    return ConfirmRequest(view.survivors(sites), packets).encode(N)


def _right(view: View) -> bytes:
    return _confirm(view, ALL, view.packets_to(VICTIM, ALL))


def _statement(view: View, sites: list[int], count: int | None = None) -> bytes:
    numbers = b"".join(site.to_bytes(2, "big") for site in sites)
    return view.request.digest + (len(sites) if count is None else count).to_bytes(2, "big") + numbers + HEAD


def _tail(view: View) -> bytes:
    return _right(view)[len(view.survivors(ALL).statement()) :]


CONFIRMATIONS: dict[str, tuple[str, Callable[[View], bytes]]] = {
    "nobody survives": ("WR-1708", lambda view: _confirm(view, (), {})),
    "a packet is missing": ("WR-1709", lambda view: _confirm(view, ALL, view.packets_to(VICTIM, ALL[1:]))),
    "no packet at all": ("WR-1709", lambda view: _confirm(view, ALL, {})),
    "packets of another receiver": ("WR-1709", lambda view: _confirm(view, ALL, _of_another_receiver(view))),
    "two packets exchanged": ("WR-1709", lambda view: _confirm(view, ALL, _exchanged(view))),
    "a site twice": ("WR-1701", lambda view: _statement(view, [0, 1, 1, 2, 3]) + _tail(view)),
    "not in order": ("WR-1701", lambda view: _statement(view, [1, 0, 2, 3, 4]) + _tail(view)),
    "a site that is not there": ("WR-1701", lambda view: _statement(view, [0, 1, 2, 3, N]) + _tail(view)),
    "more sites than there are": ("WR-1701", lambda view: _statement(view, [0, 1, 2, 3, 4], 65535) + _tail(view)),
    "more packets than there are": ("WR-1701", lambda view: _statement(view, [*ALL]) + b"\xff\xff" + _tail(view)[2:]),
    "truncated": ("WR-1701", lambda view: _right(view)[:-1]),
    "longer": ("WR-1701", lambda view: _right(view) + b"\x00"),
}


def _of_another_receiver(view: View) -> dict[int, bytes]:
    packets = view.packets_to(2, ALL)
    return {sender: packets.get(sender, bytes(packet_bytes(N))) for sender in ALL if sender != VICTIM}


def _exchanged(view: View) -> dict[int, bytes]:
    packets = view.packets_to(VICTIM, ALL)
    packets[2], packets[3] = packets[3], packets[2]
    return packets


@pytest.mark.parametrize("what", CONFIRMATIONS)
def test_a_wrong_request_to_confirm_is_refused_and_the_right_one_is_not(lab: Lab, view: View, what: str) -> None:
    code, wrong = CONFIRMATIONS[what]
    with pytest.raises(WardroundError) as refused:
        lab.stage.send(lab.victim, "confirm", wrong(view))
    assert refused.value.code == code
    assert len(lab.stage.send(lab.victim, "confirm", _right(view))) == 98


def _with_signatures(view: View, signatures: bytes, count: int) -> bytes:
    return view.survivors(ALL).statement() + count.to_bytes(2, "big") + signatures + b"\x00\x00"


def test_a_wrong_request_to_open_is_refused_and_the_right_one_is_not(lab: Lab, view: View) -> None:
    survivors = view.survivors(ALL)
    signatures = view.confirm(survivors, ALL)
    listed = [position.to_bytes(2, "big") + signature for position, signature in signatures.items()]
    swapped = {position: signatures[(position + 1) % N] for position in ALL}
    wrong = {
        "WR-1701": [
            _with_signatures(view, listed[0] * N, N),
            _with_signatures(view, b"".join(listed), 65535),
            _with_signatures(view, (N).to_bytes(2, "big") + listed[0][2:], 1),
        ],
        "WR-1703": [OpenRequest(survivors, swapped, {}).encode(N)],
        "WR-1708": [_with_signatures(view, b"", 0)],
    }
    for code, requests in wrong.items():
        for request in requests:
            with pytest.raises(WardroundError) as refused:
                lab.stage.send(lab.victim, "open", request)
            assert refused.value.code == code
    right = lab.stage.send(lab.victim, "open", OpenRequest(survivors, signatures, {}).encode(N))
    assert len(right) == 34 + 33 * N


def test_packets_are_bound_to_their_direction(lab: Lab, view: View) -> None:
    """What the victim sent to a site is not what that site sent to the victim, though the pair chain is one."""
    reflected = view.packets_to(VICTIM, ALL) | {2: view.uploads[VICTIM].packets[2]}
    with pytest.raises(WardroundError, match="WR-1709"):
        lab.stage.send(lab.victim, "confirm", _confirm(view, ALL, reflected))
    assert lab.stage.send(lab.victim, "confirm", _right(view))
