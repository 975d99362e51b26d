"""WR-14xx: metrics and statistics."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1401",
        "case table cannot be used",
        "cases.csv lacks a column, has an empty or impossible value (a probability outside 0 to 1, a truth other "
        "than 0 or 1), or its labels are not those of the study. Statistics on part of a table would look "
        "like statistics on all of it.",
        "Use the cases.csv that the run wrote, unchanged, with the study.json beside it; or run the study again.",
    ),
    ErrorPage(
        "WR-1402",
        "models were not scored on the same samples",
        "Two arms, seeds or folds have different test samples, truths or patients at one site. Means over seeds and "
        "paired tests compare models on the same patients; nothing is matched up by guessing.",
        "Let the run finish (wardround simulate --resume RUN), so that every arm, seed and fold has scored "
        "every test sample.",
    ),
)
