"""Errors of one hospital among several say which one it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def at_hospital(site: str) -> Iterator[None]:
    """Put the hospital's name before what happened; code and remedy stay.

    A hospital's own checks know their data set, not the name that the study has for the hospital.
    """
    try:
        yield
    except WardroundError as error:
        raise WardroundError(error.code, f"Hospital {site}: {error.what}", fix=error.fix) from error
