"""The bundle that runs are started with is one that hospitals of this release take."""

from __future__ import annotations

from wardround.common.release import BUNDLES
from wardround.server.flower import bundle


def test_hospitals_take_the_bundle_of_this_release() -> None:
    assert bundle().sha256 in BUNDLES
