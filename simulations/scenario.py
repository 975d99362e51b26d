"""Scenarios: a study, and the virtual hospitals on one machine that take part in it.

A scenario file is a ``study.toml`` with one more table, ``[simulation]``, and perhaps ``[[faults]]``.
Everything else is the study proper, hashed as hospitals would hash it; ``[simulation]`` says where
virtual hospitals get their patients from and which baselines are trained beside the federation,
``[[faults]]`` when one of them falls silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.study import Name, Positive, Section, Study, build_study, parse_toml, validated, with_settings
from wardround.simulations.faults import Fault, check_faults
from wardround.simulations.sites.phantom import CaseMix, Phantom
from wardround.simulations.sites.scanner import Scanner
from wardround.simulations.sites.source import Source, Where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCENARIOS = Path(__file__).parent / "scenarios"
"""The folder of the scenarios that come with wardround."""

ArmKind = Literal["federated", "centralised", "local", "leave-one-out", "centralised-leave-one-out"]
"""``leave-one-out`` is the federation without one hospital, ``centralised-leave-one-out`` the pooled
training without it; ``local`` is each hospital alone."""

_ARMS_OF: dict[str, tuple[ArmKind, ...]] = {
    "within-site": ("federated", "centralised", "local", "leave-one-out"),
    "leave-one-site-out": ("leave-one-out", "centralised-leave-one-out", "local"),
}


class VirtualSite(Section):
    """One virtual hospital.

    Attributes:
        name: Its name in the study.
        where: Rows of the source's table that are its own: columns and the value, or values,
            they must have. Sites with the same ``where`` divide its patients among themselves.
        share: Its part of those patients, relative to the shares of the others.
        patients: Number of patients to draw (phantoms only).
        prevalence: Probability that a patient has a lesion (phantoms only).
        case_mix: Which lesions its patients have (chest phantoms only); None is 40% nodules, 40%
            opacities and 20% both.
        scanner: What this hospital's scanner does to the images; None leaves them as they are.
    """

    name: Name
    where: Where = Field(default_factory=dict)
    share: Positive = 1.0
    patients: Annotated[int, Field(ge=1, le=100_000)] | None = None
    prevalence: Annotated[float, Field(ge=0, le=1)] | None = None
    case_mix: CaseMix | None = None
    scanner: Scanner | None = None


class Simulation(Section):
    """The ``[simulation]`` table.

    Attributes:
        protocol: ``within-site`` trains and tests on different patients of every hospital, as
            ``study.split`` says. ``leave-one-site-out`` is for cohorts with so few people a
            hospital that they cannot be split: all patients of a hospital are trained on, or all
            are tested, depending on the arm; ``split.validation`` and ``split.test`` must be 0.
        arms: What is trained; all kinds that the protocol knows unless fewer are named.
        unseen: Hospitals that are only tested, never trained on.
        source: Template of the hospitals' manifests, for data on disk.
        phantom: What is drawn instead, for machines without data.
        sites: The virtual hospitals, the unseen ones included.
    """

    protocol: Literal["within-site", "leave-one-site-out"] = "within-site"
    arms: tuple[ArmKind, ...] = ()
    unseen: tuple[Name, ...] = ()
    source: Source | None = None
    phantom: Phantom | None = None
    sites: tuple[VirtualSite, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [site.name for site in self.sites]
        if len(set(names)) != len(names):
            raise ValueError("two sites have the same name")
        if (self.source is None) == (self.phantom is None):
            raise ValueError("exactly one of source and phantom is needed")
        if not set(self.arms) <= set(_ARMS_OF[self.protocol]) or len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms of protocol {self.protocol} are {', '.join(_ARMS_OF[self.protocol])}, each once")
        for site in self.sites:
            _check_origin(site, self.phantom)
        return self

    @property
    def arm_kinds(self) -> tuple[ArmKind, ...]:
        """The arms to train."""
        return self.arms or _ARMS_OF[self.protocol]


class ScenarioTables(Section):
    """What a scenario file holds beside the study.

    Attributes:
        simulation: The virtual hospitals and the baselines.
        faults: Hospitals that fall silent in a round, to see what a drop-out does.
    """

    simulation: Simulation
    faults: tuple[Fault, ...] = ()


def _check_origin(site: VirtualSite, phantom: Phantom | None) -> None:
    """A site says how its patients are drawn, or how they are found in a table, never both."""
    drawn = (site.patients, site.prevalence)
    if phantom is None and (site.case_mix is not None or drawn != (None, None)):
        raise ValueError("patients, prevalence and case_mix of a site are for phantoms; use where and share")
    if phantom is None:
        return
    if None in drawn:
        raise ValueError("every site of a phantom needs patients and prevalence")
    if site.where or site.share != 1:
        raise ValueError("where and share of a site are for data on disk; use patients and prevalence")
    if site.case_mix is not None and phantom.kind != "chest":
        raise ValueError("case_mix is for chest phantoms")


@dataclass(frozen=True, slots=True)
class Arm:
    """One training of one model, and where it is tested.

    Attributes:
        name: As in ``results.json``: ``federated``, ``local/<site>``, ….
        kind: Which baseline this is.
        trains_on: Hospitals whose patients it sees, in the study's order.
        tested_on: Hospitals whose patients it is scored on, unseen ones last.
    """

    name: str
    kind: ArmKind
    trains_on: tuple[SiteId, ...]
    tested_on: tuple[SiteId, ...]

    @property
    def federated(self) -> bool:
        """Whether its hospitals train apart and are averaged, rather than pooled."""
        return self.kind in ("federated", "leave-one-out")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A study and the virtual hospitals that take part in it."""

    study: Study
    simulation: Simulation
    faults: tuple[Fault, ...] = ()

    @property
    def sites(self) -> tuple[SiteId, ...]:
        """Every hospital: those that train in the study's order, then the unseen ones."""
        return self.study.site_ids + self.unseen

    @property
    def unseen(self) -> tuple[SiteId, ...]:
        """Hospitals that are only tested."""
        return tuple(SiteId(site) for site in self.simulation.unseen)

    def site(self, name: SiteId) -> VirtualSite:
        """The virtual hospital of this name.

        Raises:
            ValueError: There is none.
        """
        for site in self.simulation.sites:
            if site.name == name:
                return site
        raise ValueError(f"no site {name!r}")

    def arms(self) -> tuple[Arm, ...]:
        """Every arm to train, federated before centralised before local ones."""
        return tuple(arm for kind in self.simulation.arm_kinds for arm in self._arms_of(kind))

    def _arms_of(self, kind: ArmKind) -> tuple[Arm, ...]:
        training = self.study.site_ids
        if kind in ("federated", "centralised"):
            return (Arm(kind, kind, training, self.sites),)
        return tuple(self._single(kind, site) for site in training)

    def _single(self, kind: ArmKind, site: SiteId) -> Arm:
        others = tuple(other for other in self.study.site_ids if other != site)
        trains_on = (site,) if kind == "local" else others
        tested_on = self.sites
        if self.simulation.protocol == "leave-one-site-out":
            tested_on = tuple(other for other in self.sites if other not in trains_on)
        return Arm(f"{kind}/{site}", kind, trains_on, tested_on)


def scenario_names() -> tuple[str, ...]:
    """Names of the scenarios that come with wardround, sorted."""
    return tuple(sorted(path.stem for path in SCENARIOS.glob("*.toml")))


def load_scenario(path_or_name: str, settings: Sequence[str] = ()) -> Scenario:
    """Read a scenario from a file, or by the name of one that comes with wardround.

    Args:
        path_or_name: Path of a TOML file, or one of :func:`scenario_names`.
        settings: ``section.field=value`` changes; ``simulation.…`` changes the virtual hospitals.

    Raises:
        WardroundError: WR-1001 unreadable or not TOML, WR-1002 study not valid, WR-1003 bad
            setting, WR-1004 unknown scenario, WR-1010 ``[simulation]`` missing or not valid, or a
            fault that the study cannot have.
    """
    return build_scenario(with_settings(parse_toml(_text(path_or_name)), settings))


def load_study(path_or_name: str, settings: Sequence[str] = ()) -> Study:
    """Read the study of a study or scenario file, or of a scenario that comes with wardround.

    Raises:
        WardroundError: WR-1001 to WR-1004, as :func:`load_scenario`.
    """
    fields = with_settings(parse_toml(_text(path_or_name)), settings)
    return build_study({key: value for key, value in fields.items() if key not in ScenarioTables.model_fields})


def build_scenario(fields: Mapping[str, object]) -> Scenario:
    """Validate the fields of a scenario: a study's, ``simulation`` and ``faults``.

    Raises:
        WardroundError: WR-1002 or WR-1010, with every field that is wrong.
    """
    if not isinstance(fields.get("simulation"), dict):
        raise WardroundError("WR-1010", "The file has no [simulation] table, so there are no hospitals to simulate.")
    beside = ScenarioTables.model_fields.keys()
    study = build_study({key: value for key, value in fields.items() if key not in beside})
    own = {key: value for key, value in fields.items() if key in beside}
    tables = validated(ScenarioTables, own, "WR-1010", "The scenario")
    scenario = Scenario(study, tables.simulation, tables.faults)
    _check_together(scenario)
    return scenario


def _check_together(scenario: Scenario) -> None:
    study, simulation = scenario.study, scenario.simulation
    described = {site.name for site in simulation.sites}
    named = set(study.sites) | set(simulation.unseen)
    if described != named or len(study.sites) + len(simulation.unseen) != len(named):
        raise WardroundError(
            "WR-1010",
            "Every site of the study and every unseen site needs one [[simulation.sites]], and no other: "
            f"found {', '.join(sorted(described))}; expected {', '.join(sorted(named))}, each seen or unseen.",
        )
    whole = study.split.validation == 0 and study.split.test == 0
    if simulation.protocol == "leave-one-site-out" and not (whole and len(study.sites) > 1):
        raise WardroundError(
            "WR-1010",
            "simulation.protocol leave-one-site-out needs two sites or more, and split.validation and split.test 0.",
        )
    if simulation.protocol == "leave-one-site-out" and study.split.min_patients != 1:
        raise WardroundError("WR-1010", "simulation.protocol leave-one-site-out needs split.min_patients 1.")
    if "leave-one-out" in simulation.arms and len(study.sites) < 2:
        raise WardroundError("WR-1010", "The arm leave-one-out needs two training sites or more.")
    if scenario.faults and "federated" not in simulation.arm_kinds:
        raise WardroundError("WR-1010", "Faults happen in the arm federated, and simulation.arms leaves it out.")
    check_faults(scenario.faults, study)


def _text(path_or_name: str) -> str:
    path = Path(path_or_name)
    if path_or_name in scenario_names():
        path = SCENARIOS / f"{path_or_name}.toml"
    elif path.suffix != ".toml":
        raise WardroundError(
            "WR-1004",
            f"There is no scenario {path_or_name!r}; there are {', '.join(scenario_names())}. "
            "The name of a study's file ends in .toml.",
        )
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise WardroundError("WR-1001", f"The file {path.name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise WardroundError("WR-1001", f"The file {path.name} is not UTF-8 text.") from error
