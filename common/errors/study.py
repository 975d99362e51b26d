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
    ErrorPage(
        "WR-1010",
        "scenario is not valid",
        "The [simulation] table is missing, or it or one of the [[faults]] has a field that is unknown or out of "
        "range, or does not fit the study.",
        "Correct the fields that the message lists; deploy/docs/scenarios.md describes [simulation] and [[faults]].",
    ),
    ErrorPage(
        "WR-1011",
        "scenario's data not found",
        "The scenario uses images on disk, and no data folder was given or it does not hold the scenario's table. "
        "Nothing is downloaded.",
        "Give the folder with --data DIR or the environment variable WARDROUND_DATA; on a machine without data run "
        "the scenario phantom-cxr or phantom-3d, which draw their images.",
    ),
    ErrorPage(
        "WR-1012",
        "patient at two sites",
        "A patient's images would be at two virtual hospitals, so that a model could be tested on a patient it was "
        "trained on.",
        "Change the where of the sites so that no patient matches two of them, or mend the patient column.",
    ),
    ErrorPage(
        "WR-1013",
        "too few patients to divide",
        "Several virtual hospitals share the same patients and one of them would get none.",
        "Describe fewer sites with this where, or give the site a larger share.",
    ),
    ErrorPage(
        "WR-1014",
        "image cannot go through a virtual scanner",
        "The image is missing, cannot be decoded, is not a single-channel image, or has pixels that are not numbers.",
        "Mend or remove the row that the message names.",
    ),
)
