"""The study: one frozen, declarative plan that every hospital approves by its hash.

``study.toml`` is parsed into :class:`Study`, written as RFC 8785 canonical JSON and hashed with
SHA-256; that hash is the study's id. A study names models, losses, transforms and metrics from a
closed catalogue with typed parameters. It never carries code.

This package is pure: it takes text and returns a study. Reading files is its callers' work.
Order: :mod:`fields` (names and ranges), :mod:`sections`, :mod:`model`, :mod:`privacy` and :mod:`aggregation` (the
tables of the file), :mod:`study` (all of them, and the id), :mod:`reading` (from text, with mistakes named).
"""

from wardround.common.study.aggregation import Aggregation, SecureAggregation
from wardround.common.study.fields import RESERVED, Fraction, LabelName, Name, Positive, Section
from wardround.common.study.model import ModelChoice
from wardround.common.study.privacy import Privacy
from wardround.common.study.reading import build_study, parse_toml, validated, with_settings
from wardround.common.study.sections import Evaluation, Input, Selection, Split, Task, Training
from wardround.common.study.study import Study

__all__ = [
    "RESERVED",
    "Aggregation",
    "Evaluation",
    "Fraction",
    "Input",
    "LabelName",
    "ModelChoice",
    "Name",
    "Positive",
    "Privacy",
    "Section",
    "SecureAggregation",
    "Selection",
    "Split",
    "Study",
    "Task",
    "Training",
    "build_study",
    "parse_toml",
    "validated",
    "with_settings",
]
