"""Ed25519 as RFC 8032 writes it down, on affine points: slow, not constant in time, an oracle for tests."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
NEUTRAL = (0, 1)

Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    """Section 5.1.4, in affine form."""
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    """``scalar`` times ``point``."""
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def encode(point: Point) -> bytes:
    """Section 5.1.2."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def recover(y: int, sign: int) -> Point | None:
    """Section 5.1.3: the point with this y and this lowest bit of x; None where there is none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return ((P - x) % P if x & 1 != sign else x), y


def base() -> Point:
    """The base point: y = 4/5, x even."""
    point = recover(4 * pow(5, -1, P) % P, 0)
    assert point is not None
    return point


def public_key(private: bytes) -> bytes:
    """Section 5.1.5."""
    scalar, _ = _expanded(private)
    return encode(multiply(scalar, base()))


def sign(private: bytes, message: bytes) -> bytes:
    """Section 5.1.6."""
    scalar, prefix = _expanded(private)
    public = encode(multiply(scalar, base()))
    nonce = _number(prefix, message) % ORDER
    commitment = encode(multiply(nonce, base()))
    challenge = _number(commitment, public, message) % ORDER
    return commitment + ((nonce + challenge * scalar) % ORDER).to_bytes(32, "little")


def low_order_points() -> set[Point]:
    """The eight points whose order divides eight: the large prime order times points of the curve."""
    found: set[Point] = set()
    y = 2
    while len(found) < 8:
        point = recover(y, 0)
        if point is not None:
            torsion = multiply(ORDER, point)
            found |= {multiply(k, torsion) for k in range(8)}
        y += 1
    return found


def _expanded(private: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(private).digest()
    scalar = int.from_bytes(digest[:32], "little")
    return scalar & ((1 << 254) - 8) | 1 << 254, digest[32:]


def _number(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")
