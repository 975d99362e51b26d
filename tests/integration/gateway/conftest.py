"""One consortium for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.federated import federated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.federated import Federated


@pytest.fixture(scope="package")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federated]:
    with federated(tmp_path_factory.mktemp("federated")) as started:
        yield started
