"""Masks are taken off a sum on several threads: AES and numpy let go of the interpreter's lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from wardround.common.secagg.masks import add_masks, split_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.secagg.coordinator_attempt import Unmask
    from wardround.common.secagg.masks import Sign
    from wardround.common.secagg.ring import RingVector


def on_threads(threads: int) -> Unmask:
    """:func:`~wardround.common.secagg.masks.add_masks` over the whole vector, on so many threads."""

    def unmask(target: RingVector, seeds: Sequence[tuple[bytes, Sign]]) -> None:
        with ThreadPoolExecutor(threads, thread_name_prefix="unmask") as pool:
            parts = split_ranges(target.size, threads)
            done = [pool.submit(add_masks, target, seeds, start=first, stop=last) for first, last in parts]
            for part in done:
                part.result()

    return unmask
