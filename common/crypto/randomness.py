"""Where randomness comes from: an argument, never a global generator.

Production passes ``os.urandom``; it does so in the client, the server and the simulation, because
nothing under ``common`` reads from the operating system. Tests pass what they like.
"""

from __future__ import annotations

from collections.abc import Callable

RandomSource = Callable[[int], bytes]
"""Given a number of bytes, returns that many, unpredictable and independent of all before."""


def draw(random: RandomSource, size: int) -> bytes:
    """``size`` fresh bytes.

    Raises:
        RuntimeError: The source gave another number of bytes. A short key must never be used.
    """
    drawn = bytes(random(size))
    if len(drawn) != size:
        raise RuntimeError(f"the random source gave {len(drawn)} bytes where {size} were asked for")
    return drawn
