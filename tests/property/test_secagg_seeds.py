"""Over a long run with retries, drops, restarts and new sessions no secret is ever used for two things.

An observer reads every site's records after every attempt and writes down each key and seed with what it is for: links
of the chains, self masks, keys of polynomials, pair seeds, packet keys, keys of sealed updates. One value, one use; a
use that two sites share has one value; and each link of a chain is gone from the records once the next round has begun.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fakes.secagg import Consortium, Silence, plain_sum, run_attempt

from wardround.common.secagg import packets
from wardround.common.secagg.messages import NONCE
from wardround.common.secagg.site_records import ATTEMPT, SESSION, UPDATE, AttemptRecord, SessionRecord, UpdateRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.common.ids import SiteId

Use = tuple[object, ...]
MASKS = ("self mask", "pair seed")


class Secrets:
    """Every secret that was seen in a site's records, and what it was for."""

    def __init__(self, consortium: Consortium) -> None:
        self._consortium = consortium
        self.uses: dict[bytes, set[Use]] = defaultdict(set)
        self.values: dict[Use, set[bytes]] = defaultdict(set)

    def look(self) -> None:
        """Read everybody's records."""
        for name in self._consortium.names:
            for use, value in self._found(name):
                self.uses[value].add(use)
                self.values[use].add(value)

    def _found(self, name: SiteId) -> Iterator[tuple[Use, bytes]]:
        records = self._consortium.stores[name].records
        session = SessionRecord.decode(records[SESSION])
        number, own = session.context.session, session.context.position(name)
        if session.private:
            yield ("mask key", number, name), session.private[:32]
            yield ("share key", number, name), session.private[32:]
        for other, chains in session.chains.items():
            pair = tuple(sorted((own, other)))
            yield ("mask chain", number, session.round, pair), chains.mask
            yield ("packet chain", number, session.round, pair), chains.packet
        if ATTEMPT in records:
            yield from self._of_attempt(name, session, AttemptRecord.decode(records[ATTEMPT]))
        if UPDATE in records and UpdateRecord.decode(records[UPDATE]).sealed:
            update = UpdateRecord.decode(records[UPDATE])
            yield ("sealed update", name, update.round), update.key

    @staticmethod
    def _of_attempt(name: SiteId, session: SessionRecord, attempt: AttemptRecord) -> Iterator[tuple[Use, bytes]]:
        context, own = attempt.context.digest, session.context.position(name)
        yield ("self mask", name, context), attempt.self_mask
        yield ("polynomials", name, context), attempt.sharing
        for other, chains in session.chains.items():
            yield ("pair seed", context, tuple(sorted((own, other)))), chains.seed(context, (own, other))
            packet = packets.sealed_packets(session, attempt, own)[other]
            yield ("packet key", context, own, other), chains.packet_key(context, own, other, packet[:NONCE])


def test_one_value_has_one_use_over_a_long_run() -> None:
    consortium = Consortium(5, rounds=12, size=5)
    secrets, sums, begun = Secrets(consortium), 0, []
    cohorts = {1: consortium.names, 5: consortium.names[1:], 9: consortium.names[:4]}
    for number in range(1, 13):
        if number in cohorts:
            cohort = cohorts[number]
            session = consortium.offered(1 + sorted(cohorts).index(number), cohort)
            for name in cohort:
                session.receive_advert(name, consortium.sites[name].advertise(session.offer()))
            secrets.look()
            for name in cohort:
                consortium.sites[name].join(session.adverts())
        for attempt in (1, 2, 3):
            context = consortium.context(session, number, attempt, model=number)
            coordinator = consortium.attempt(session, context)
            begun.append(context.digest)
            stage = list(Silence)[(number + attempt) % len(Silence)]
            silent = {} if attempt == 3 else dict.fromkeys(cohort[number % 2 : number % 2 + 2], stage)
            updates = {name: consortium.update((name, number)) for name in cohort}
            outcome = run_attempt(consortium, coordinator, updates, silent)
            secrets.look()
            if outcome.total is not None:
                assert outcome.total.tolist() == plain_sum([updates[name] for name in outcome.survivors], 16)
                sums += 1
            for name in consortium.names[attempt::2]:
                consortium.restart(name)
    assert sums >= 12
    repeated = [uses for uses in secrets.uses.values() if len(uses) > 1]
    assert repeated == []
    disagreed = [use for use, values in secrets.values.items() if len(values) > 1]
    assert disagreed == []
    kinds = {kind: sum(use[0] == kind for use in secrets.values) for kind in ("pair seed", "self mask", "mask chain")}
    assert kinds["self mask"] > 100
    assert kinds["pair seed"] > 250
    assert kinds["mask chain"] > 70
    # What was masked with is what was seen, and nothing else.
    masked = set(consortium.masks.uses)
    assert masked <= {value for value, uses in secrets.uses.items() for use in uses if use[0] in MASKS}
    assert len(masked) > 300


def test_a_source_of_randomness_that_repeats_itself_is_noticed() -> None:
    consortium = Consortium(3, size=5)
    session, secrets = consortium.session(), Secrets(consortium)
    consortium.randoms[consortium.names[1]] = bytes
    consortium.restart(consortium.names[1])
    for attempt in (1, 2):
        context = consortium.context(session, attempt=attempt)
        run_attempt(
            consortium, consortium.attempt(session, context), {}, dict.fromkeys(consortium.names, Silence.UPLOAD)
        )
        secrets.look()
    assert [len(uses) for uses in secrets.uses.values() if len(uses) > 1] == [4]  # two self masks, two polynomials


def test_links_and_masks_of_earlier_rounds_are_gone_from_the_records() -> None:
    consortium = Consortium(4, size=5)
    session = consortium.session()
    before: dict[SiteId, set[bytes]] = {name: set() for name in consortium.names}
    for number in range(1, 5):
        context = consortium.context(session, number, model=number)
        coordinator = consortium.attempt(session, context)
        updates = {name: consortium.update((name, number)) for name in consortium.names}
        assert run_attempt(consortium, coordinator, updates).total is not None
        for name in consortium.names:
            stored = b"".join(consortium.stores[name].records.values())
            assert not [secret for secret in before[name] if secret in stored]
            records = consortium.stores[name].records
            chains = SessionRecord.decode(records[SESSION]).chains.values()
            attempt, update = AttemptRecord.decode(records[ATTEMPT]), UpdateRecord.decode(records[UPDATE])
            kept = {link for pair in chains for link in (pair.mask, pair.packet)}
            kept |= {attempt.self_mask, attempt.sharing, update.key}
            assert all(secret in stored for secret in kept)  # the search itself finds what is there
            before[name] |= kept
