"""Ed25519 signatures against RFC 8032 and a textbook implementation of it."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fakes import textbook_ed25519 as textbook
from hypothesis import given
from hypothesis import strategies as st

from wardround.common.crypto.signing import SigningKey, fingerprint, usable_public_key, verify

if TYPE_CHECKING:
    from pathlib import Path

KEY = SigningKey(bytes(range(32)))
SIGNED = KEY.sign("advert", b"message")
PURPOSES = st.from_regex(r"[a-z0-9][a-z0-9/.-]{0,8}", fullmatch=True)


@pytest.fixture(scope="module")
def vectors(root: Path) -> list[dict[str, Any]]:
    content = json.loads((root / "tests/vectors/crypto/ed25519.json").read_text())
    assert "RFC 8032" in content["source"]
    return [{name: bytes.fromhex(value) for name, value in vector.items()} for vector in content["vectors"]]


def test_the_textbook_agrees_with_rfc_8032(vectors: list[dict[str, Any]]) -> None:
    for vector in vectors:
        assert textbook.public_key(vector["private"]) == vector["public"]
        assert textbook.sign(vector["private"], vector["message"]) == vector["signature"]


def test_public_keys_agree_with_rfc_8032(vectors: list[dict[str, Any]]) -> None:
    for vector in vectors:
        key = SigningKey(vector["private"])
        assert (key.public, key.private) == (vector["public"], vector["private"])


def test_signatures_are_the_textbooks_over_purpose_and_message() -> None:
    for purpose, message in (("advert", b""), ("roster", b"abc"), ("a/b.c-9", bytes(300))):
        signed = b"wardround/1/" + purpose.encode() + b"\x00" + message
        assert KEY.sign(purpose, message) == textbook.sign(KEY.private, signed)


def test_a_signature_verifies_for_its_key_purpose_and_message_alone() -> None:
    other = SigningKey(bytes(32)).public
    assert verify(KEY.public, "advert", b"message", SIGNED)
    assert not verify(other, "advert", b"message", SIGNED)
    assert not verify(KEY.public, "roster", b"message", SIGNED)
    assert not verify(KEY.public, "advert", b"massage", SIGNED)


@given(st.tuples(PURPOSES, st.binary(max_size=9)), st.tuples(PURPOSES, st.binary(max_size=9)))
def test_no_two_purposes_and_messages_share_a_signature(a: tuple[str, bytes], b: tuple[str, bytes]) -> None:
    assert verify(KEY.public, *b, KEY.sign(*a)) == (a == b)


@pytest.mark.parametrize("purpose", ["", "Advert", "a\0b", "a b", "ü", "a" * 65, "-a", "a\n"])
def test_what_is_no_purpose_is_a_bug(purpose: str) -> None:
    with pytest.raises(ValueError, match="purpose"):
        KEY.sign(purpose, b"")
    with pytest.raises(ValueError, match="purpose"):
        verify(KEY.public, purpose, b"", SIGNED)


def test_every_flipped_bit_of_a_signature_is_seen() -> None:
    for bit in range(len(SIGNED) * 8):
        changed = (int.from_bytes(SIGNED, "big") ^ 1 << bit).to_bytes(64, "big")
        assert not verify(KEY.public, "advert", b"message", changed)


def test_a_second_form_of_a_signature_is_refused() -> None:
    """S + L solves the same equation; RFC 8032, section 5.1.7, refuses it."""
    shifted = int.from_bytes(SIGNED[32:], "little") + textbook.ORDER
    assert not verify(KEY.public, "advert", b"message", SIGNED[:32] + shifted.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_public_keys_of_wrong_length_verify_nothing(length: int) -> None:
    assert verify(KEY.public, "advert", b"message", SIGNED)
    assert not verify((KEY.public * 2)[:length], "advert", b"message", SIGNED)
    with pytest.raises(ValueError, match="not 32"):
        SigningKey(bytes(length))


@pytest.mark.parametrize("length", [0, 32, 63, 65, 128])
def test_signatures_of_wrong_length_verify_nothing(length: int) -> None:
    assert not verify(KEY.public, "advert", b"message", (SIGNED * 2)[:length])


def test_keys_of_low_order_verify_nothing_although_the_library_takes_them() -> None:
    neutral = textbook.encode(textbook.NEUTRAL)
    for_any_message = neutral + bytes(32)  # S = 0 and R = neutral solve S·B = R + h·A for A = neutral
    Ed25519PublicKey.from_public_bytes(neutral).verify(for_any_message, b"wardround/1/advert\0anything")
    assert not verify(neutral, "advert", b"anything", for_any_message)


def test_exactly_the_points_of_low_order_are_unusable() -> None:
    points = textbook.low_order_points()
    assert len(points) == 8
    encodings = {textbook.encode(point) for point in points}
    beyond = {(point[1] + textbook.P).to_bytes(32, "little") for point in points if point[1] + textbook.P < 2**255}
    assert len(beyond) == 2
    signs = {bytes([*encoding[:31], encoding[31] ^ 0x80]) for encoding in encodings | beyond}
    assert not any(usable_public_key(encoding) for encoding in encodings | beyond | signs)
    assert all(usable_public_key(SigningKey(os.urandom(32)).public) for _ in range(50))
    assert usable_public_key(textbook.encode(textbook.base()))


def test_a_key_off_the_curve_verifies_nothing() -> None:
    off = next(y for y in range(2, 100) if textbook.recover(y, 0) is None).to_bytes(32, "little")
    assert usable_public_key(off)
    assert not verify(off, "advert", b"message", SIGNED)


def test_new_keys_come_from_the_given_randomness() -> None:
    assert SigningKey.generate(lambda size: b"\7" * size).private == b"\7" * 32
    with pytest.raises(RuntimeError, match="31 bytes"):
        SigningKey.generate(lambda size: bytes(size - 1))


def test_the_private_key_is_not_shown() -> None:
    assert KEY.public.hex() in repr(KEY)
    for text in (repr(KEY), str(KEY), f"{KEY}"):
        assert KEY.private.hex() not in text
        assert repr(KEY.private) not in text


def test_a_fingerprint_is_the_start_of_sha256_in_groups() -> None:
    shown = fingerprint(KEY.public)
    assert hashlib.sha256(KEY.public).hexdigest().startswith(shown.replace(" ", ""))
    assert [len(group) for group in shown.split(" ")] == [4] * 10
