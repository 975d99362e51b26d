"""X25519 against RFC 7748."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from wardround.common.crypto.agreement import AgreementKey

if TYPE_CHECKING:
    from pathlib import Path

P = 2**255 - 19
LOW_ORDER = {
    "0": 0,
    "1": 1,
    "p - 1": P - 1,
    "p": P,
    "p + 1": P + 1,
    "order 8": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "order 8, twist": 39382357235489614581723060781553021112529911719440698176882885853963445705823,
}


@pytest.fixture(scope="module")
def vectors(root: Path) -> list[dict[str, Any]]:
    content = json.loads((root / "tests/vectors/crypto/x25519.json").read_text())
    assert "RFC 7748" in content["source"]
    return list(content["vectors"])


def test_shared_secrets_agree_with_rfc_7748(vectors: list[dict[str, Any]]) -> None:
    for vector in vectors:
        key = AgreementKey(bytes.fromhex(vector["private"]))
        peer = bytes.fromhex(vector["peer"])
        if int.from_bytes(peer, "little") < P:
            assert key.shared(peer).hex() == vector["shared"]
        else:  # RFC 7748 ignores the top bit; here a point has one encoding
            reduced = int.from_bytes(peer, "little") % 2**255
            assert key.shared(reduced.to_bytes(32, "little")).hex() == vector["shared"]
            with pytest.raises(ValueError, match="one encoding"):
                key.shared(peer)
        assert vector["public"] in (None, key.public.hex())


def test_both_sides_compute_the_same() -> None:
    one, other, third = (AgreementKey.generate(os.urandom) for _ in range(3))
    assert one.shared(other.public) == other.shared(one.public)
    assert one.shared(third.public) != other.shared(third.public)


@pytest.mark.parametrize("point", LOW_ORDER.values(), ids=LOW_ORDER)
def test_a_peer_of_low_order_is_refused(point: int) -> None:
    key = AgreementKey.generate(os.urandom)
    assert len(key.shared((9).to_bytes(32, "little"))) == 32
    with pytest.raises(ValueError, match="low order" if point < P else "one encoding"):
        key.shared(point.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_wrong_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="not 32"):
        AgreementKey(bytes(length))
    with pytest.raises(ValueError, match="not 32"):
        AgreementKey.generate(os.urandom).shared(bytes(length))


def test_new_keys_come_from_the_given_randomness() -> None:
    assert AgreementKey.generate(lambda size: b"\7" * size).private == b"\7" * 32
    with pytest.raises(RuntimeError, match="0 bytes"):
        AgreementKey.generate(lambda _: b"")


def test_the_private_key_is_not_shown() -> None:
    key = AgreementKey(bytes(range(32)))
    assert key.public.hex() in repr(key)
    for text in (repr(key), str(key)):
        assert key.private.hex() not in text
        assert repr(key.private) not in text
