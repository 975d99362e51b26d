"""Where the gateway cannot listen, people are told what the system says."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, cast

import pytest
from fakes.joining import NOW

from wardround.common.errors import WardroundError
from wardround.server.consortium import create_consortium
from wardround.server.gateway.gateway import Gateway

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.server.gateway.gateway import Hooks
    from wardround.server.gateway.nodes import SuperLinkLike


@pytest.mark.parametrize(
    ("listen", "code", "said"),
    [
        ("127.0.0.1:{taken}", "WR-1916", "taken by another program"),
        ("192.0.2.1:8443", "WR-1940", "Cannot assign requested address"),  # RFC 5737: no machine has it
        ("nowhere.invalid:8443", "WR-1940", "nowhere.invalid:8443: "),
    ],
)
def test_the_systems_reason_is_told_and_no_traceback(
    listen: str, code: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        create_consortium(tmp_path / "c", "C", "h:1", now=NOW) as made,
    ):
        chosen = listen.format(taken=other.getsockname()[1])
        never_asked = cast("SuperLinkLike", None), cast("Hooks", _Hooks())
        with pytest.raises(WardroundError, match=said) as refusal:
            Gateway(made, *never_asked, listen=chosen).start()
    assert refusal.value.code == code
    assert "Traceback" not in caplog.text


class _Hooks:
    def replied(self, _site: object, _node: int) -> None:
        raise AssertionError("nobody called")
