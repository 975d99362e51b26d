"""WR-10xx: the study file and what it asks for."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1001",
        "study file cannot be read",
        "The file is missing, is not readable, or is not valid TOML.",
        "Check the path and the TOML syntax at the line that the message names.",
    ),
    ErrorPage(
        "WR-1002",
        "study is not valid",
        "A field is unknown, missing, of the wrong type or out of range. Nothing is guessed: a misspelt "
        "field would otherwise silently leave its default in force.",
        "Correct the fields that the message lists; deploy/docs/study.md describes every field.",
    ),
    ErrorPage(
        "WR-1003",
        "study setting cannot be changed this way",
        "A --set argument is not of the form key=value, or names no field of the study.",
        "Write --set section.field=value, for example --set training.rounds=10.",
    ),
    ErrorPage(
        "WR-1004",
        "unknown scenario",
        "The name is neither a study file nor one of the scenarios that come with wardround.",
        "Give the path of a study.toml, or one of the scenario names that the message lists.",
    ),
)
