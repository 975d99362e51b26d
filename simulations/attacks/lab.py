"""What every attack starts from: a consortium, a study, who is attacked and who colludes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wardround.common.crypto.signing import SigningKey
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.roster import Member, Roster
from wardround.common.secagg.context import RoundContext, SessionContext, settings_digest
from wardround.common.secagg.parameters import Strength, Threshold, default_colluding
from wardround.common.secagg.site_checks import Terms
from wardround.simulations.attacks.coordinator import Session, View, summed
from wardround.simulations.attacks.hospital import WEIGHTS, HospitalSpec, encoding_for
from wardround.simulations.attacks.randomness import derived
from wardround.simulations.attacks.stage import Stage
from wardround.simulations.attacks.weakened import ANYTHING_GOES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wardround.common.secagg.encoding import Encoding
    from wardround.common.secagg.ring import RingVector

STUDY: Final = StudyId("sha256:" + hashlib.sha256(b"the study under attack").hexdigest())
RUN: Final = StudyRunId("run-1")
SETTINGS: Final = settings_digest(seed=0, fold=0, folds=1)
LAYOUT: Final = hashlib.sha256(b"one vector of weights").digest()
ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """How large a consortium is and how much of it is bad.

    Attributes:
        sites: n.
        colluding: k, which study and policies assume.
        corrupt: Sites that do collude.
        smallest_cohort: What the sites' policies ask for.
        smallest_sum: The least number of sites in a sum, as the study says.
        strength: The study's.
    """

    sites: int
    colluding: int
    corrupt: int
    smallest_cohort: int = 3
    smallest_sum: int = 3
    strength: Strength = Strength.ACTIVE

    @classmethod
    def usual(cls, sites: int) -> Setting:
        """The k of a study where nobody asks for more, and as many sites that collude."""
        return cls(sites, default_colluding(sites), default_colluding(sites))

    @classmethod
    def of(cls, sites: int, colluding: int) -> Setting:
        """Another k, and as many sites that collude."""
        return cls(sites, colluding, colluding)

    @classmethod
    def with_one(cls, sites: int) -> Setting:
        """As :meth:`usual`, but one of three sites colludes, too."""
        return cls.of(sites, max(1, default_colluding(sites)))

    @property
    def sizes(self) -> Threshold:
        """What follows from n, k and the strength."""
        return Threshold(self.sites, self.colluding, self.strength)


@dataclass(frozen=True, slots=True)
class Gain:
    """What an attack got.

    Attributes:
        reached: Whether it is what the attack is for.
        words: What it is.
    """

    reached: bool
    words: str


class Lab:
    """A consortium under attack.

    Args:
        setting: How large, and how bad.
        off: Rules that the honest hospitals do without.
        victim_data: ``not finite`` for a victim whose training ends in a value that is no number.
    """

    def __init__(self, setting: Setting, off: tuple[str, ...] = (), victim_data: str = "usual") -> None:
        self.setting = setting
        self.off = off
        self.stage = Stage()
        self._victim_data = victim_data
        self.views: list[View] = []

    # Who

    @cached_property
    def sites(self) -> tuple[SiteId, ...]:
        """Every training site of the study, sorted."""
        return tuple(SiteId(f"site_{number:02d}") for number in range(1, self.setting.sites + 1))

    @property
    def victim(self) -> SiteId:
        """The honest hospital whose update the coordinator is after."""
        return self.sites[1] if self.setting.sites - self.setting.corrupt > 1 else self.sites[0]

    @property
    def colluders(self) -> tuple[SiteId, ...]:
        """Sites that collude with the coordinator."""
        return self.sites[len(self.sites) - self.setting.corrupt :]

    @property
    def honest(self) -> tuple[SiteId, ...]:
        """All others, the victim among them."""
        return self.sites[: len(self.sites) - self.setting.corrupt]

    @property
    def others(self) -> tuple[SiteId, ...]:
        """All sites but the victim."""
        return tuple(site for site in self.sites if site != self.victim)

    def positions(self, sites: Iterable[SiteId] | None = None) -> tuple[int, ...]:
        """Numbers of sites in a cohort of all; of all of them when not given."""
        return tuple(sorted(self.sites.index(site) for site in (self.sites if sites is None else sites)))

    def quorum(self) -> tuple[int, ...]:
        """Who is asked where t answers are enough: those that collude, and as few honest ones as possible."""
        return self.positions((*self.colluders, *self.honest)[: self.setting.sizes.threshold])

    @cached_property
    def strangers(self) -> tuple[SiteId, ...]:
        """As many members of the consortium that are not in the study; all of them collude."""
        return tuple(SiteId(f"stranger_{number:02d}") for number in range(1, self.setting.sites))

    # What is public

    @cached_property
    def encoding(self) -> Encoding:
        """The study's."""
        return encoding_for(self.setting.sites)

    @cached_property
    def roster(self) -> Roster:
        """The consortium's."""
        return roster_of(tuple((site, self.seed(site)) for site in (*self.sites, *self.strangers)))

    def roster_without(self, site: SiteId) -> Roster:
        """A newer roster, from which a site is gone."""
        members = {name: member for name, member in self.roster.members.items() if name != site}
        return self.roster.model_copy(update={"version": self.roster.version + 1, "members": members})

    @cached_property
    def terms(self) -> Terms:
        """What every hospital approved."""
        return Terms(
            study=STUDY,
            run=RUN,
            sites=frozenset(self.sites),
            rounds=ROUNDS,
            colluding=self.setting.colluding,
            strength=self.setting.strength,
            smallest_cohort=self.setting.smallest_cohort,
            layout=LAYOUT,
            encoding=self.encoding.digest,
            ring_bits=16,
            weight_cap=1,
            settings=SETTINGS,
            smallest_sum=self.setting.smallest_sum,
        )

    # Who is on the stage

    def seed(self, name: str) -> str:
        """A hospital's seed, hex: the same for every attack in this setting."""
        return derived(b"lab", name, str(self.setting)).hex()

    def admit(self, sites: Iterable[SiteId]) -> None:
        """Put hospitals of the study on the stage."""
        for site in sites:
            self.stage.admit(site, self._spec(site))

    def _spec(self, site: SiteId) -> HospitalSpec:
        return HospitalSpec(
            site=site,
            seed=self.seed(site),
            roster=self.roster.canonical().decode(),
            terms=self.terms,
            off=ANYTHING_GOES if site in (*self.colluders, *self.strangers) else self.off,
            data=self._victim_data if site == self.victim else "usual",
        )

    def admit_impostor(self, site: SiteId) -> str:
        """Put a site on the stage that the coordinator plays itself, under a key of its own; returns its name there."""
        name = f"the coordinator as {site}"
        spec = self._spec(site)
        self.stage.admit(name, replace(spec, seed=self.seed(name), off=ANYTHING_GOES))
        return name

    # What the coordinator does

    def context(self, number: int = 1, cohort: Iterable[SiteId] | None = None, **changes: Any) -> SessionContext:  # noqa: ANN401  # fields of the context
        """A session to offer: what an honest coordinator would, with changes."""
        named = tuple(sorted(self.sites if cohort is None else cohort))
        fields: dict[str, Any] = {
            "consortium": self.roster.consortium,
            "study": STUDY,
            "run": RUN,
            "settings": SETTINGS,
            "session": number,
            "cohort": named,
            "colluding": self.setting.colluding,
            "strength": self.setting.strength,
        } | changes
        if "members" not in fields:
            fields["members"] = self.roster.entries_hash(named)
        if "threshold" not in fields:
            n, k = len(named), fields["colluding"]
            active = fields["strength"] is Strength.ACTIVE
            fields["threshold"] = (n + k) // 2 + 1 if active else max(k + 1, n // 2 + 1)
        return SessionContext(**fields)

    def session(self, context: SessionContext, keys: Mapping[SiteId, str] | None = None) -> Session:
        """Offer a session and have it joined."""
        session = Session(self.stage, context, keys)
        session.advertise()
        session.join()
        return session

    def first_session(self) -> Session:
        """Session 1, honestly conducted, with every site."""
        stage, session = _joined(self.setting, self._victim_data)
        self.stage = stage.fork(self.off)
        return session.moved_to(self.stage)

    def view(self, session: Session, number: int = 1, attempt: int = 1, **changes: Any) -> View:  # noqa: ANN401  # fields of the round context
        """An attempt to run: what an honest coordinator would ask for, with changes; ``content`` is the model."""
        content = changes.pop("content", model_of_round(number))
        fields: dict[str, Any] = {
            "transcript": session.transcript,
            "round": number,
            "attempt": attempt,
            "model": hashlib.sha256(content).digest(),
            "layout": LAYOUT,
            "encoding": self.encoding.digest,
            "ring_bits": 16,
            "weight_cap": 1,
        } | changes
        view = View(session, RoundContext(**fields), content)
        self.views.append(view)
        return view

    def uploaded(self, session: Session, number: int = 1, attempt: int = 1, **changes: Any) -> View:  # noqa: ANN401  # as view
        """An attempt in which every site of the session has uploaded."""
        view = self.view(session, number, attempt, **changes)
        everyone = range(len(session.context.cohort))
        view.begin(everyone)
        view.upload(everyone)
        return view

    # What came of it

    def less_weights(self, total: RingVector, sites: int) -> RingVector:
        """A sum without what sites whose update is zero put in: the weight 1, at its end."""
        total[self.encoding.parameters :] -= np.array(sites, dtype=total.dtype)
        return total

    def truth(self, sites: Iterable[SiteId]) -> RingVector:
        """The sum of updates as they are at the hospitals."""
        return summed([self.stage.hospitals[site].truth for site in sites])

    def recovered(self, guess: RingVector) -> Gain:
        """The gain of an attack that says it has the victim's update."""
        return Gain(bool(np.array_equal(guess, self.truth([self.victim]))), "the victim's update, exactly")


@lru_cache(maxsize=16)
def roster_of(seeds: tuple[tuple[SiteId, str], ...]) -> Roster:
    """The roster of hospitals with these seeds."""
    return Roster(
        consortium="consortium under attack",
        version=1,
        members={site: Member(key=_public(seed)) for site, seed in seeds},
    )


def _public(seed: str) -> str:
    return SigningKey(derived(bytes.fromhex(seed), "identity")).public.hex()


def model_of_round(number: int) -> bytes:
    """The global model that a round starts from: all units are active."""
    return np.full(WEIGHTS, float(number), dtype="<f4").tobytes()


def dead_model() -> bytes:
    """A model for which every update is zero."""
    return np.full(WEIGHTS, -1.0, dtype="<f4").tobytes()


@lru_cache(maxsize=32)
def _joined(setting: Setting, victim_data: str) -> tuple[Stage, Session]:
    lab = Lab(setting, victim_data=victim_data)
    lab.admit(lab.sites)
    return lab.stage, lab.session(lab.context())
