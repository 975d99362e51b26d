"""How long the ledger takes to pay for a round, durably: wall-clock time, the disk's included."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wardround.client.ledger.ledger import Ledger, Owner
from wardround.client.ledger.patients import Cohort
from wardround.common.crypto.signing import SigningKey
from wardround.common.ids import PatientKey, SiteId, StudyId, StudyRunId
from wardround.common.privacy.mechanism import SampledGaussian

PATIENTS: Final = 10_000
STEP: Final = SampledGaussian(rate=0.1, multiplier=2.0)


def ledger_seconds(repeats: int, patients: int = PATIENTS) -> list[float]:
    """Seconds of each of ``repeats`` payments of one run, after two that are not counted.

    The ledger lies in the folder for temporary files; its disk is what counts.
    """
    run, now = StudyRunId("bench"), datetime.now(UTC)
    keys = (PatientKey(hashlib.sha256(b"%d" % number).hexdigest()[:32]) for number in range(patients))
    cohort = Cohort.of(keys)
    with tempfile.TemporaryDirectory() as folder:
        owner = Owner(SiteId("bench"), "0" * 64, lambda: SigningKey.generate(os.urandom))
        ledger = Ledger(Path(folder), owner, os.urandom)
        ledger.set_limit(20.0, 1e-5, admin="bench", reason="bench", now=now)
        study = StudyId("sha256:" + "0" * 64)
        ledger.reserve(run, study, cohort, mechanism=STEP, steps=1, rounds=repeats + 2, now=now)
        taken = []
        for number in range(1, repeats + 3):
            begin = time.perf_counter()
            ledger.spend(run, number, 1, cohort, now=now)
            taken.append(time.perf_counter() - begin)
    return taken[2:]
