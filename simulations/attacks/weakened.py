"""Hospitals with single rules switched off: the controls of the attacks.

A rule is named by the method of :class:`~wardround.common.secagg.site_checks.SiteChecks` that keeps it.
Five rules are kept elsewhere, because no message can be handled without them; their names begin with
the module that keeps them. Production never makes any of this: a test looks for it.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, cast

from wardround.common.crypto.aead import seal
from wardround.common.crypto.agreement import AgreementKey
from wardround.common.errors import WardroundError
from wardround.common.secagg.context import SessionContext
from wardround.common.secagg.keys import LINK, PairChains, packet_associated
from wardround.common.secagg.messages import NONCE
from wardround.common.secagg.packets import unsealed
from wardround.common.secagg.parameters import Threshold
from wardround.common.secagg.site import Site
from wardround.common.secagg.site_checks import SiteChecks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wardround.common.ids import SiteId
    from wardround.common.secagg.messages import Advert, Survivors
    from wardround.common.secagg.site_records import AttemptRecord, SessionRecord

CHECKS: Final = tuple(name for name in vars(SiteChecks) if not name.startswith("_"))
"""Every rule of :class:`SiteChecks`."""

LIMITS: Final = "parameters.Threshold"
"""No secure sum of fewer than three sites."""

FULL_ORDER: Final = "agreement.shared"
"""No session key of low order."""

SENDER: Final = "packets.unsealed"
"""A packet opens under the key of the sender that it is said to be from."""

FINITE: Final = "rounding.finite"
"""An update holds numbers only."""

CLIPPED: Final = "rounding.clip"
"""An update is clipped to the study's bounds."""

RULES: Final = (*CHECKS, LIMITS, FULL_ORDER, SENDER, FINITE, CLIPPED)

ANYTHING_GOES: Final = (*CHECKS, LIMITS, FULL_ORDER)
"""What a site does without that colludes with the coordinator, or is the coordinator."""


def without(off: Collection[str]) -> SiteChecks:
    """The checks of a site, less those that are named."""
    unknown = set(off) - set(RULES)
    if unknown:
        raise ValueError(f"there are no rules {sorted(unknown)}")
    methods = {name: _takes_any if name == "this_attempt" else _passes for name in off if name in CHECKS}
    return cast("SiteChecks", type("WeakenedChecks", (SiteChecks,), methods)())


def site_class(off: Collection[str]) -> type[Site]:
    """The site that does without the named rules that stand outside of the checks."""
    found = [kind for rule, kind in _SITES.items() if rule in off]
    return type("WeakenedSite", (*found, Site), {}) if found else Site


def _passes(*_: object, **__: object) -> None:
    """Accept everything."""


def _takes_any(_: SiteChecks, context: bytes, attempt: AttemptRecord | None) -> AttemptRecord:
    """The newest attempt, whichever one the message is about."""
    if attempt is None:
        raise WardroundError("WR-1706", f"There is no attempt to take for {context.hex()}.")
    return attempt


def unlimited(context: SessionContext) -> Threshold:
    """n, k, t and the smallest sum of a session, of whatever size its cohort is."""
    return _NoLimits(len(context.cohort), context.colluding, context.strength)


class _NoLimits(Threshold):
    def __post_init__(self) -> None:
        """Accept a cohort of any size."""


class _AnySize(SessionContext):
    @property
    def sizes(self) -> Threshold:
        return unlimited(self)


class _AnyCohort(Site):
    """Without :data:`LIMITS`."""

    def __init__(self, site: SiteId, **arguments: Any) -> None:  # noqa: ANN401  # those of a site
        super().__init__(site, **arguments)
        if self._session is not None:
            self._session = replace(self._session, context=_any_size(self._session.context))

    def _new_session(self, context: SessionContext) -> SessionRecord:
        return super()._new_session(_any_size(context))


def _any_size(context: SessionContext) -> SessionContext:
    return _AnySize(**{field.name: getattr(context, field.name) for field in fields(SessionContext)})


class _AnyPoint(Site):
    """Without :data:`FULL_ORDER`: an agreement that is refused counts as the zeros that it would give."""

    def _chains(self, session: SessionRecord, advert: Advert, position: int, named: bytes) -> PairChains:
        mask = _agreed(session.private[:LINK], advert.mask_key)
        share = _agreed(session.private[LINK:], advert.share_key)
        return PairChains.first(mask, share, named, (self._position, position))


def _agreed(private: bytes, peer: bytes) -> bytes:
    try:
        return AgreementKey(private).shared(peer)
    except ValueError:
        return bytes(LINK)


class _AnySender(Site):
    """Without :data:`SENDER`: a packet is opened under whichever sender's key fits."""

    def _prepared(self, survivors: Survivors, received: Mapping[int, bytes]) -> AttemptRecord:
        session, own = self._joined(), self._position
        attempt = self._checks.this_attempt(survivors.context, self._attempt)
        context = attempt.context.digest
        as_claimed = {
            claimed: packet[:NONCE]
            + seal(
                session.chains[claimed].packet_key(context, claimed, own, packet[:NONCE]),
                _by_anyone(session, attempt, own, claimed, packet),
                packet_associated(context, claimed, own),
            )
            for claimed, packet in received.items()
        }
        return super()._prepared(survivors, as_claimed)


def _by_anyone(session: SessionRecord, attempt: AttemptRecord, own: int, claimed: int, packet: bytes) -> bytes:
    for sender in (claimed, *session.chains):
        try:
            return unsealed(session, attempt, own, sender, packet)
        except WardroundError:
            continue
    raise WardroundError("WR-1709", "The packet was made by no site of the cohort for this site and attempt.")


_SITES: Final[dict[str, type[Any]]] = {LIMITS: _AnyCohort, FULL_ORDER: _AnyPoint, SENDER: _AnySender}
