"""Names of things, as types, so that they cannot be mixed up."""

from __future__ import annotations

from typing import NewType

SiteId = NewType("SiteId", str)
"""A hospital's name in the study, for example ``nih_cc``."""

StudyId = NewType("StudyId", str)
"""``sha256:`` and the hex digest of the study's canonical form."""

StudyRunId = NewType("StudyRunId", str)
"""wardround's own durable id of one run of a study; never Flower's run id."""

RoundNumber = NewType("RoundNumber", int)
"""Rounds count from 1; the model before the first round belongs to round 0."""

PatientKey = NewType("PatientKey", str)
"""HMAC-SHA256 of the patient's id under the site's secret, hex; the raw id never leaves the site."""
