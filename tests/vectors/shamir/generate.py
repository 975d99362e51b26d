"""Writes field-2-256-297.json: ``PYTHONPATH=tests python tests/vectors/shamir/generate.py``.

Shares of drawn polynomials over the field of 2^256 + 297 elements, computed by the textbook's
formula. The same formula agrees with the published shares of rfc9591.json in other fields.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from fakes.textbook_shamir import interpolate

PRIME = 2**256 + 297
HIGHEST = b"\xff" * 32

SIZES = ((2, 2, 1), (3, 2, 2), (4, 3, 2), (5, 4, 1), (10, 7, 2), (50, 26, 1), (50, 34, 2), (128, 85, 1))
"""Holders, threshold, number of secrets."""


def number(text: bytes) -> int:
    return int.from_bytes(text, "little")


def vector(name: str, holders: int, threshold: int, secrets: list[bytes], drawn: bytes) -> dict[str, Any]:
    """Holder x below the threshold is given the drawn values; the others follow from them and the secrets."""
    shares = [b""] * holders
    for place, secret in enumerate(secrets):
        points = {0: number(secret)}
        for x in range(1, threshold):
            start = 32 * ((x - 1) * len(secrets) + place)
            points[x] = number(drawn[start : start + 32])
        for x in range(1, holders + 1):
            shares[x - 1] += interpolate(points, x, PRIME).to_bytes(33, "little")
    return {
        "name": name,
        "holders": holders,
        "threshold": threshold,
        "secrets": [secret.hex() for secret in secrets],
        "drawn": drawn.hex(),
        "shares": [share.hex() for share in shares],
    }


def drawn_vector(holders: int, threshold: int, count: int) -> dict[str, Any]:
    name = f"{threshold} of {holders}"
    stream = hashlib.shake_256(name.encode()).digest(32 * count * threshold)
    secrets = [stream[32 * place : 32 * place + 32] for place in range(count)]
    return vector(name, holders, threshold, secrets, stream[32 * count :])


def vectors() -> list[dict[str, Any]]:
    long = 2**256 - 7  # f(2) = 2 f(1) - f(0) = 2^256 + 5: the share needs its 33rd byte
    return [
        *(drawn_vector(*size) for size in SIZES),
        vector("zeros", 5, 4, [bytes(32)], bytes(96)),
        vector("highest", 5, 4, [HIGHEST], 3 * HIGHEST),
        vector("lowest secret, highest values", 10, 7, [bytes(32)], 6 * HIGHEST),
        vector("highest secret, lowest values", 10, 7, [HIGHEST], bytes(192)),
        vector("a share above 2^256", 3, 2, [long.to_bytes(32, "little")], HIGHEST),
    ]


def document() -> str:
    return json.dumps({"source": "generate.py, by the textbook's formula", "vectors": vectors()}, indent=1) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("field-2-256-297.json").write_text(document(), encoding="utf-8")
