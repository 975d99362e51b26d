"""A hospital that was proposed a study: a home with keys, a roster and data, and the consortium's authority."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w
from PIL import Image

from wardround.client.home import Home, create_home
from wardround.client.identity import accept_roster, site_key
from wardround.client.proposals import keep_proposal
from wardround.common.consortium.studies import Proposal, SignedProposal
from wardround.common.crypto.signing import SigningKey
from wardround.common.ids import SiteId
from wardround.common.roster import Member, Roster, SignedRoster
from wardround.common.study import Study, build_study

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wardround.client.policy import Policy
    from wardround.common.consortium.studies import SignedDecision

SITES = ("north", "south", "lake")
NOW = 1_760_000_000

PROMISE: dict[str, Any] = {"trust": "distributed", "epsilon": 2, "patients": 400, "rate": 0.5}


def study_of(**fields: Any) -> Study:
    """A private study with a promise, which the strict policy allows, with changes."""
    base: dict[str, Any] = {
        "schema": 1,
        "name": "chests",
        "title": "Abnormal chest radiographs",
        "claim": "One model serves three hospitals.",
        "limits": "Small images.",
        "sites": list(SITES),
        "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
        "input": {"size": [32, 32]},
        "model": {"name": "small_cnn"},
        "training": {"rounds": 3, "epochs": 3, "loss": "bce", "optimizer": "sgd", "batch_size": 4},
        "aggregation": {"mode": "private", "weights": "equal", "secure": {"update_rms": 0.01}},
        "privacy": PROMISE,
        "selection": {"rule": "last"},
        "split": {"validation": 0.15, "test": 0.25},
    }
    return build_study({key: value for key, value in (base | fields).items() if value is not None})


def open_study(**fields: Any) -> Study:
    """The same without a promise, in open mode, with changes."""
    return study_of(**({"privacy": None, "aggregation": {"mode": "open"}} | fields))


@dataclass
class Consortium:
    """Its authority, and the hospital that tests look at."""

    authority: SigningKey
    home: Home

    @classmethod
    def around(cls, folder: Path, *, policy: Policy | None = None, sites: Sequence[str] = SITES) -> Consortium:
        """A home that accepted the roster of a consortium of ``sites``; the first one is the home's."""
        home = create_home(folder, SiteId(sites[0]), (), device="cpu", threads=1, policy=policy)
        found = cls(SigningKey.generate(os.urandom), home)
        found.accept(sites, 1)
        return found

    def accept(self, sites: Sequence[str], version: int) -> None:
        keys = {site: SigningKey.generate(os.urandom).public.hex() for site in sites}
        keys[self.home.site] = site_key(self.home).public.hex()
        members = {SiteId(site): Member(key=key, label=f"{site} hospital") for site, key in keys.items()}
        roster = Roster(consortium="lungs", version=version, members=members)
        accept_roster(self.home, SignedRoster.sign(roster, self.authority), by="M. Roth")

    def proposal(self, study: Study | str, **fields: Any) -> Proposal:
        text = study if isinstance(study, str) else study.canonical().decode()
        given = {"consortium": "lungs", "study": text, "by": "Dr. Lindqvist, Umeå", "why": "To read films.", "at": NOW}
        return Proposal(**(given | fields))

    def propose(self, study: Study | str, **fields: Any) -> Proposal:
        """Propose a study, and let the home have it."""
        proposal = self.proposal(study, **fields)
        keep_proposal(self.home, SignedProposal.sign(proposal, self.authority))
        return proposal

    def verified(self, signed: SignedDecision) -> Any:
        return signed.verified(site_key(self.home).public.hex())


def put_data(folder: Path, *, name: str = "north", patients: int = 12, first: int = 0, **fields: Any) -> Path:
    """A data set of drawn films, one a patient; its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "image", "finding"])
        for number in range(first, first + patients):
            Image.fromarray(rng.integers(0, 255, (20, 20)).astype(np.uint8)).save(folder / f"{number}.png")
            writer.writerow([f"Doe-{number}", f"{number}.png", number % 2])
    manifest = {
        "schema": 1,
        "name": name,
        "modality": "DX",
        "table": {"file": "table.csv"},
        "patient": {"column": "patient"},
        "channels": [{"name": "image", "column": "image", "format": "png"}],
        "target": {"kind": "binary", "column": "finding", "classes": {"0": "", "1": "abnormal"}},
        **fields,
    }
    path = folder / "manifest.toml"
    path.write_text(tomli_w.dumps(manifest), encoding="utf-8")
    return path
