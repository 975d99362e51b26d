"""The errors that a user can meet: stable codes, what happened, and what to do.

Two families exist and are never mixed. Bugs raise ``ValueError``, ``TypeError`` or
``RuntimeError``. Everything a peer, a data set, a policy or a configuration can cause raises
:class:`WardroundError` with a code from :data:`REGISTRY`; each code has one page in
``deploy/docs/errors/``, generated from here.

No message ever contains patient data: rows are named by number, files by their role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.errors import (
    data,
    deployment,
    device,
    evaluation,
    federation,
    privacy,
    run,
    secagg,
    study,
    training,
)
from wardround.common.errors.page import ErrorPage

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REGISTRY", "ErrorPage", "WardroundError"]


def _registry() -> dict[str, ErrorPage]:
    pages: dict[str, ErrorPage] = {}
    for room in (study, data, training, federation, evaluation, run, device, secagg, privacy, deployment):
        for page in room.PAGES:
            if page.code in pages:
                message = f"error code {page.code} is defined twice"
                raise RuntimeError(message)
            pages[page.code] = page
    return pages


REGISTRY: Final[Mapping[str, ErrorPage]] = _registry()


class WardroundError(Exception):
    """A refusal or failure that the user can act on.

    Args:
        code: A code of :data:`REGISTRY`, ``WR-`` and four digits.
        what: What happened in this case, one sentence, without patient data.
        fix: What to do about it; the page's general remedy when not given.

    Raises:
        RuntimeError: ``code`` is not registered (a bug in the caller).
    """

    def __init__(self, code: str, what: str, *, fix: str | None = None) -> None:
        if code not in REGISTRY:
            message = f"error code {code} is not registered"
            raise RuntimeError(message)
        self.code = code
        self.what = what
        self.fix = fix if fix is not None else REGISTRY[code].remedy
        super().__init__(code, what, self.fix)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between worker processes of one machine."""
        return (_rebuild, (self.code, self.what, self.fix))

    def __str__(self) -> str:
        return f"{self.code}: {self.what} {self.fix}"

    @property
    def phrase(self) -> str:
        """Code and what happened without a full stop, to stand in a sentence."""
        return f"{self.code}: {self.what.removesuffix('.')}"

    @property
    def page(self) -> ErrorPage:
        """The page that explains this code."""
        return REGISTRY[self.code]


def _rebuild(code: str, what: str, fix: str) -> WardroundError:
    return WardroundError(code, what, fix=fix)
