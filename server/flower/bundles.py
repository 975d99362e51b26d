"""The bundle that every Flower run is started with."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

_PROJECT: Final = b"""[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "wardround"
version = "1"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "wardround"

[tool.flwr.app.components]
serverapp = "wardround.server.app:app"
clientapp = "wardround.client.app:app"

[tool.flwr.app.config]
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A Flower app bundle.

    Attributes:
        content: The file.
        sha256: Of the content, hex.
    """

    content: bytes
    sha256: str


def bundle() -> Bundle:
    """The bundle that every run is started with: names of installed apps, no code. Each build gives the same bytes."""
    from flwr.cli.build import build_fab_from_files

    content, _ = build_fab_from_files({"pyproject.toml": _PROJECT})
    return Bundle(content, sha256(content).hexdigest())
