"""What is said about one error code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """One error code, explained for the person who meets it.

    Attributes:
        code: ``WR-`` and four digits; never reused.
        title: What happened, in a few words.
        cause: Why wardround refuses or stops here.
        remedy: What to do, as an instruction.
    """

    code: str
    title: str
    cause: str
    remedy: str
