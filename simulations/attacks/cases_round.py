"""Attacks on step 3: which model, which round, which attempt, under which bounds."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wardround.common.secagg.messages import Advert
from wardround.simulations.attacks.case import SMALL, Case
from wardround.simulations.attacks.cases_keys import with_keys
from wardround.simulations.attacks.coordinator import Session
from wardround.simulations.attacks.lab import ROUNDS, Gain, Setting, dead_model, model_of_round

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.simulations.attacks.coordinator import View
    from wardround.simulations.attacks.lab import Lab


def another_model_to_one_site(lab: Lab) -> Gain:
    """Give everybody a model on which updates are zero, and the victim another one: the sum is its update.

    D. Pasquini, D. Francati, G. Ateniese, *Eluding Secure Aggregation in Federated Learning via Model
    Inconsistency*, CCS 2022.
    """
    view = lab.view(lab.first_session(), content=dead_model())
    victim = lab.positions([lab.victim])
    view.begin(victim, model_of_round(1))
    view.begin(lab.positions(lab.others))
    view.upload(lab.positions())
    view.open_set(lab.positions(), lab.quorum())
    return lab.recovered(lab.less_weights(view.total(lab.positions()), lab.setting.sites - 1))


def changed_terms(lab: Lab, number: int = 1, gain: str = "", **changes: Any) -> Gain:  # noqa: ANN401  # fields of the round context
    """Ask for an attempt that differs from the approved study."""
    view = lab.uploaded(lab.first_session(), number, **changes)
    view.open_set(lab.positions(), lab.quorum())
    opened = np.array_equal(view.total(lab.positions()), lab.truth(lab.sites))
    return Gain(bool(opened), gain)


def another_sessions_request(lab: Lab) -> Gain:
    """A colluding site signs two adverts, half of the sites join with each, and all are asked for one attempt."""
    lab.admit(lab.sites)
    session = Session(lab.stage, lab.context())
    session.advertise()
    colluder = lab.colluders[0]
    first = Advert.decode(session.adverts[lab.positions([colluder])[0]])
    other_list = with_keys(lab, session, colluder, first.share_key, first.mask_key)
    half = lab.positions(lab.honest)[::2]
    session.join(elsewhere=dict.fromkeys(half, other_list))
    view = lab.uploaded(session)
    reached = len(view.uploads) == lab.setting.sites
    return Gain(reached, "uploads for a session that half of the sites have not joined (no update: their keys differ)")


def perturbed_model_in_a_retry(lab: Lab) -> Gain:
    """A round that was opened is tried again on a model that differs in its last bit, and opened without the victim."""
    session = lab.first_session()
    first = _opened(lab, session)
    second = lab.uploaded(session, attempt=2, content=_perturbed(first.model))
    return _difference(lab, first, second)


def next_round_same_model(lab: Lab) -> Gain:
    """The next round starts on the same model, and is opened without the victim."""
    session = lab.first_session()
    first = _opened(lab, session)
    return _difference(lab, first, lab.uploaded(session, 2, content=first.model))


def old_attempt(lab: Lab) -> Gain:
    """After the second attempt has begun, the first one is asked for again, byte for byte."""
    session = lab.first_session()
    first = _opened(lab, session)
    lab.view(session, attempt=2).begin(lab.positions())
    return _difference(lab, first, lab.uploaded(session))


def earlier_round(lab: Lab) -> Gain:
    """After the second round has begun, another attempt of the first one is asked for."""
    session = lab.first_session()
    first = _opened(lab, session)
    lab.uploaded(session, 2)
    return _difference(lab, first, lab.uploaded(session, attempt=2))


def earlier_round_in_a_newer_session(lab: Lab) -> Gain:
    """A newer session begins with the first round again, on a model that differs in its last bit."""
    session = lab.first_session()
    first = _opened(lab, session)
    lab.uploaded(session, 2)
    second = lab.uploaded(lab.session(lab.context(2)), content=_perturbed(first.model))
    return _difference(lab, first, second)


def _opened(lab: Lab, session: Session) -> View:
    view = lab.uploaded(session)
    view.open_set(lab.positions(), lab.quorum())
    return view


def _difference(lab: Lab, first: View, second: View) -> Gain:
    """Open the second sum without the victim, and take it off the first one."""
    rest = lab.positions(lab.others)
    second.open_set(rest, lab.quorum())
    return lab.recovered(first.total(lab.positions()) - second.total(rest))


def _perturbed(model: bytes) -> bytes:
    weights = np.frombuffer(model, dtype="<f4").copy()
    weights[0] = np.nextafter(weights[0], np.float32(np.inf))
    return weights.tobytes()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


_CHANGES: Final[Mapping[str, tuple[str, dict[str, Any], str]]] = {
    "changed-clip": (
        "the clipping bounds and scales are other ones",
        {"encoding": _digest("other bounds")},
        "a sum under bounds that nobody approved",
    ),
    "changed-modulus": (
        "the ring is another one",
        {"ring_bits": 32},
        "a sum in a ring that nobody approved",
    ),
    "changed-weights": (
        "the largest weight is another one",
        {"weight_cap": 1000},
        "a sum with weights that nobody approved",
    ),
    "changed-layout": (
        "the model's layout is another one",
        {"layout": _digest("other tensors")},
        "a sum over a layout that nobody approved",
    ),
    "round-beyond-the-study": (
        "a round more than the study has",
        {"number": ROUNDS + 1},
        "a sum more than the study has rounds",
    ),
}

CASES: Final = (
    Case(
        "another-model-to-one-site",
        "the victim is given another model than the one that the round names",
        another_model_to_one_site,
        "WR-1705",
        ("same_model",),
    ),
    *(
        Case(name, words, partial(changed_terms, gain=gain, **changes), "WR-1705", ("approved",))
        for name, (words, changes, gain) in _CHANGES.items()
    ),
    Case(
        "another-sessions-request",
        "sites that were shown different session keys are asked for one and the same attempt",
        another_sessions_request,
        "WR-1706",
        ("this_session",),
        setting=Setting.with_one,
    ),
    Case(
        "perturbed-model-in-a-retry",
        "a round is tried again on a model that differs in its last bit",
        perturbed_model_in_a_retry,
        "WR-1705",
        ("one_model_a_round",),
        SMALL,
    ),
    Case(
        "next-round-same-model",
        "the next round starts on the same model, and is opened without the victim",
        next_round_same_model,
        "WR-1707",
        ("model_once", "opened_once"),
        SMALL,
    ),
    Case(
        "message-of-an-old-attempt",
        "an attempt is asked for again, byte for byte, after a newer one",
        old_attempt,
        "WR-1706",
        ("order", "opened_once"),
        SMALL,
    ),
    Case(
        "earlier-round",
        "a round is tried again after the next one has begun",
        earlier_round,
        "WR-1706",
        ("order", "no_earlier_round", "opened_once"),
        SMALL,
    ),
    Case(
        "earlier-round-in-a-newer-session",
        "a newer session begins with the first round again, on a model that differs in its last bit",
        earlier_round_in_a_newer_session,
        "WR-1706",
        ("no_earlier_round",),
        SMALL,
    ),
)
