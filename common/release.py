"""What coordinator and hospitals of this release have in common without asking each other."""

from __future__ import annotations

from typing import Final

BUNDLES: Final = frozenset({"c5c658dadc683c574c39546730da38333fda6c450e455929e0c227865e1a507d"})
"""SHA-256 of the Flower app bundles that runs may be started with: this release's and the one's before.

A bundle names the installed apps and holds no code; a hospital never fetches or runs one. A run with another bundle is
not one of ours.
"""
