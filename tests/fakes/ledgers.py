"""Ledgers for tests: a hospital's folder, patients by number, a clock that stands still."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from wardround.client.ledger.ledger import Ledger, Owner
from wardround.client.ledger.patients import Cohort
from wardround.common.crypto.signing import SigningKey
from wardround.common.ids import PatientKey, SiteId, StudyId, StudyRunId
from wardround.common.privacy.mechanism import SampledGaussian

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
SITE: Final = SiteId("north")
SECRET: Final = "5e" * 32
KEY: Final = SigningKey(bytes(range(32)))
MECHANISM: Final = SampledGaussian(rate=0.1, multiplier=2.0)
STUDY: Final = StudyId("sha256:" + "1" * 64)
RUN: Final = StudyRunId("run.seed0")


def ledger(
    folder: Path, *, site: SiteId = SITE, secret: str = SECRET, wait: float = 10.0, witness: bool = False
) -> Ledger:
    """A ledger as another process would open it."""
    return Ledger(folder, Owner(site, secret, lambda: KEY), os.urandom, wait=wait, require_witness=lambda: witness)


def limited(folder: Path, epsilon: float | None = 8.0, delta: float = 1e-5) -> Ledger:
    """A ledger with a limit."""
    made = ledger(folder)
    made.set_limit(epsilon, delta, admin="Ada", reason="a test", now=NOW)
    return made


def key(patient: int) -> PatientKey:
    """The key of a patient."""
    return PatientKey(hashlib.sha256(str(patient).encode()).hexdigest()[:32])


def cohort(patients: Iterable[int]) -> Cohort:
    """Some patients."""
    return Cohort.of(key(patient) for patient in patients)


def study(number: int) -> StudyId:
    """The hash of a study."""
    return StudyId("sha256:" + hashlib.sha256(f"study {number}".encode()).hexdigest())


def reserve(
    book: Ledger,
    patients: Cohort,
    *,
    run: str = RUN,
    of: StudyId = STUDY,
    mechanism: SampledGaussian | None = MECHANISM,
    steps: int = 10,
    rounds: int = 10,
) -> None:
    """Reserve with values that hardly matter."""
    book.reserve(StudyRunId(run), of, patients, mechanism=mechanism, steps=steps, rounds=rounds, now=NOW)


def spend(book: Ledger, patients: Cohort, number: int, *, run: str = RUN, computation: int = 1) -> None:
    """Pay for a round."""
    book.spend(StudyRunId(run), number, computation, patients, now=NOW)
