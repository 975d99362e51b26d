"""The malicious coordinator's tools: it speaks to the hospitals as it likes and puts together what it learns.

Nothing here checks anything. What a hospital answers is kept with what it lets the coordinator
compute: shares by secret, masked updates, and from t shares of a secret the secret.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.crypto.agreement import AgreementKey
from wardround.common.secagg.context import RoundContext, SessionContext, transcript
from wardround.common.secagg.keys import LINK, PairChains, commitment, pair_sign
from wardround.common.secagg.masks import add_masks
from wardround.common.secagg.messages import (
    Advert,
    Confirmation,
    ConfirmRequest,
    Opening,
    OpenRequest,
    Survivors,
    Upload,
    encode_adverts,
    packet_bytes,
)
from wardround.common.secagg.packets import unsealed
from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.ring import Ring
from wardround.common.secagg.shamir import SHARE_BYTES, combine, lagrange_weights
from wardround.common.secagg.site_records import ATTEMPT, SESSION, AttemptRecord, SessionRecord
from wardround.simulations.attacks.weakened import unlimited

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wardround.common.ids import SiteId
    from wardround.common.secagg.masks import Sign
    from wardround.common.secagg.ring import RingVector
    from wardround.simulations.attacks.memory_store import MemoryStore
    from wardround.simulations.attacks.stage import Stage

    Pair = tuple[int, int]
    """(v, v) for b_v as shared by v, (v, w) for s_vw as shared by v."""

RING: Final = Ring(16)
"""The study's."""

HEAD: Final = bytes(32)
"""Head of the coordinator's log."""


class NotEnoughSharesError(Exception):
    """A secret that the coordinator needs has not been opened."""


class Session:
    """A session as the coordinator conducts it.

    Args:
        stage: Where.
        context: What it offers.
        keys: Who on the stage plays which site; the site's own name when not given.
    """

    def __init__(self, stage: Stage, context: SessionContext, keys: Mapping[SiteId, str] | None = None) -> None:
        self.stage = stage
        self.context = context
        self.keys = [(keys or {}).get(site, site) for site in context.cohort]
        self.adverts: tuple[bytes, ...] = ()
        self.joined_with: tuple[bytes, ...] = ()

    def advertise(self) -> None:
        """Step 1 at every site."""
        offer = self.context.encode()
        self.adverts = tuple(self.stage.send(key, "advertise", offer) for key in self.keys)

    def join(
        self, adverts: tuple[bytes, ...] | None = None, elsewhere: Mapping[int, tuple[bytes, ...]] | None = None
    ) -> None:
        """Step 2 at every site.

        Args:
            adverts: Shown in place of the genuine ones.
            elsewhere: Shown to single sites instead.
        """
        self.joined_with = adverts or self.adverts
        for position, key in enumerate(self.keys):
            shown = (elsewhere or {}).get(position, self.joined_with)
            self.stage.send(key, "join", encode_adverts(shown))

    def private_keys(self, positions: Iterable[int]) -> dict[int, bytes]:
        """Both private session keys of sites that have not joined yet, as a thief of their stores has them."""
        stores = {position: self.stage.hospitals[self.keys[position]].store for position in positions}
        return {position: SessionRecord.decode(store.get(SESSION) or b"").private for position, store in stores.items()}

    @property
    def transcript(self) -> bytes:
        """T."""
        return transcript(self.context, self.joined_with)

    def positions(self, sites: Iterable[SiteId]) -> tuple[int, ...]:
        """Sites' numbers, ascending."""
        return tuple(sorted(self.context.position(site) for site in sites))

    def moved_to(self, stage: Stage) -> Session:
        """The same session on a fork of its stage."""
        other = Session(stage, self.context)
        other.keys, other.adverts, other.joined_with = self.keys, self.adverts, self.joined_with
        return other


class View:
    """One attempt as the coordinator sees it.

    Args:
        session: Its session.
        request: What sites are told about it.
        model: The model that goes with it.
    """

    def __init__(self, session: Session, request: RoundContext, model: bytes) -> None:
        self.session = session
        self.request = request
        self.model = model
        self._stage = session.stage
        self._sites = len(session.context.cohort)
        self._threshold = unlimited(session.context).threshold
        self.uploads: dict[int, Upload] = {}
        self.masked: dict[int, RingVector] = {}
        self._shares: dict[Pair, dict[int, bytes]] = {}
        self._seeds: dict[Pair, bytes] = {}

    # Step 3

    def begin(self, positions: Iterable[int], model: bytes | None = None) -> None:
        """Give sites the request and the model, or another one."""
        for position in positions:
            self._stage.send(self.session.keys[position], "begin", self.request.encode(), model or self.model)

    def upload(self, positions: Iterable[int]) -> None:
        """Let sites upload."""
        for position in positions:
            answer = self._stage.send(self.session.keys[position], "upload")
            length = upload_bytes(self._sites)
            self.uploads[position] = Upload.decode(answer[:length], self._sites)
            self.masked[position] = np.frombuffer(answer[length:], dtype=RING.dtype)

    # Step 4

    def survivors(self, positions: Sequence[int], head: bytes = HEAD) -> Survivors:
        """What is signed."""
        return Survivors(self.request.digest, tuple(positions), head)

    def packets_to(self, receiver: int, positions: Iterable[int]) -> dict[int, bytes]:
        """The packets of these senders."""
        return {sender: self.uploads[sender].packets[receiver] for sender in positions if sender != receiver}

    def confirm(
        self,
        survivors: Survivors,
        signers: Iterable[int],
        packets: Mapping[int, Mapping[int, bytes]] | None = None,
    ) -> dict[int, bytes]:
        """Ask sites to sign a survivor set, with these packets (by receiver) in place of the genuine ones."""
        signatures = {}
        for position in signers:
            given = packets[position] if packets else self.packets_to(position, survivors.sites)
            request = ConfirmRequest(survivors, given).encode(self._sites)
            answer = self._stage.send(self.session.keys[position], "confirm", request)
            signatures[position] = Confirmation.decode(answer).signature
        return signatures

    # Step 5

    def open(
        self,
        survivors: Survivors,
        signatures: Mapping[int, bytes],
        holders: Iterable[int],
        *,
        holds: Sequence[int] | None = None,
        read_as: Mapping[Pair, Pair] | None = None,
        with_packets: bool = False,
    ) -> None:
        """Ask sites for their shares, and keep them.

        Args:
            survivors: The set that is named.
            signatures: What goes with it.
            holders: Who is asked.
            holds: The set that the answers are for, where it is another one.
            read_as: Which secrets the shares are of, where packets were swapped.
            with_packets: Send the packets as well, as in a semi-honest session.
        """
        active = self.session.context.strength is Strength.ACTIVE
        for position in holders:
            packets = {} if active and not with_packets else self.packets_to(position, survivors.sites)
            request = OpenRequest(survivors, signatures, packets).encode(self._sites)
            answer = self._stage.send(self.session.keys[position], "open", request)
            self._keep(position, answer, holds or survivors.sites, read_as or {})

    def _keep(self, holder: int, answer: bytes, opened: Sequence[int], read_as: Mapping[Pair, Pair]) -> None:
        shares = Opening.decode(answer, self._sites, len(opened)).shares
        outside = [position for position in range(self._sites) if position not in opened]
        pairs = [(v, v) for v in opened] + [(v, u) for v in opened for u in outside]
        for place, pair in enumerate(pairs):
            self.learn(read_as.get(pair, pair), holder, shares[place * SHARE_BYTES : (place + 1) * SHARE_BYTES])

    def learn(self, pair: Pair, holder: int, share: bytes) -> None:
        """Keep a share of the secret ``pair[1]`` of site ``pair[0]``; (v, v) is the self mask."""
        self._shares.setdefault(pair, {})[holder] = share

    def open_set(
        self, positions: Sequence[int], signers: Iterable[int] | None = None, head: bytes = HEAD
    ) -> dict[int, bytes]:
        """Steps 4 and 5 for one survivor set, at these sites."""
        survivors = self.survivors(positions, head)
        asked = list(range(self._sites) if signers is None else signers)
        active = self.session.context.strength is Strength.ACTIVE
        signatures = self.confirm(survivors, asked) if active else {}
        self.open(survivors, signatures, asked)
        return signatures

    # What it learns

    def read_packets(self, sender: int, holders: Iterable[int]) -> None:
        """Unseal a sender's packets with the state of other sites, which collude."""
        for holder in set(holders) - {sender}:
            session = SessionRecord.decode(self._store(holder).get(SESSION) or b"")
            attempt = AttemptRecord.decode(self._store(holder).get(ATTEMPT) or b"")
            self.read_packet(session, attempt, sender, holder)

    def read_with_keys(self, sender: int, keys: Mapping[int, bytes]) -> None:
        """Unseal a sender's packets with the private session keys of their receivers, 64 bytes each.

        The pair chains are made anew, from these keys and what the sender itself advertised.
        """
        advert = Advert.decode(self.session.adverts[sender])
        for holder, private in keys.items():
            mask = AgreementKey(private[:LINK]).shared(advert.mask_key)
            share = AgreementKey(private[LINK:]).shared(advert.share_key)
            chains = PairChains.first(mask, share, self.session.transcript, (holder, sender))
            session = SessionRecord(self.session.context, b"", b"", self.session.transcript, 1, {sender: chains})
            self.read_packet(session, AttemptRecord(self.request, b"", b""), sender, holder)

    def learn_seeds(self, holders: Iterable[int]) -> None:
        """Take the pair seeds that colluding sites share with everybody else."""
        for holder in holders:
            record = SessionRecord.decode(self._store(holder).get(SESSION) or b"")
            for peer, chains in record.chains.items():
                pair = (min(holder, peer), max(holder, peer))
                self._seeds[pair] = chains.seed(self.request.digest, pair)

    def _store(self, position: int) -> MemoryStore:
        return self._stage.hospitals[self.session.keys[position]].store

    def read_packet(self, session: SessionRecord, attempt: AttemptRecord, sender: int, holder: int) -> None:
        """Unseal a packet with the records of its receiver."""
        held = unsealed(session, attempt, holder, sender, self.uploads[sender].packets[holder])
        for other in range(self._sites):
            self.learn((sender, other), holder, held[other * SHARE_BYTES : (other + 1) * SHARE_BYTES])

    def secret(self, own: int, other: int) -> bytes:
        """b_v for (v, v), else the pair seed.

        Raises:
            NotEnoughSharesError: It was not opened.
        """
        known = self._seeds.get((min(own, other), max(own, other)))
        if known is not None:
            return known
        for pair in {(own, other), (other, own)}:
            shares = self._shares.get(pair, {})
            if len(shares) >= self._threshold:
                holders = sorted(shares)[: self._threshold]
                weights = _weights(tuple(holder + 1 for holder in holders))
                found = combine(weights, [shares[holder] for holder in holders])[0]
                if commitment(self.request.digest, found, (own, other)) == self.uploads[pair[0]].commitments[pair[1]]:
                    return found
        raise NotEnoughSharesError(f"{own}, {other}")

    def total(self, positions: Sequence[int]) -> RingVector:
        """The sum of these sites' updates.

        Raises:
            NotEnoughSharesError: A mask is left in it.
        """
        masks = [self._mask(v, v) for v in positions]
        masks += [self._mask(v, u) for v in positions for u in range(self._sites) if u not in positions]
        found = summed([self.masked[v] for v in positions])
        add_masks(found, masks)
        return found

    def _mask(self, own: int, other: int) -> tuple[bytes, Sign]:
        added = 1 if own == other else pair_sign(own, other)
        return self.secret(own, other), (-1 if added == 1 else 1)

    def best_guess(self, position: int) -> RingVector:
        """A site's masked update without those of its masks that are known."""
        found = self.masked[position].copy()
        for other in range(self._sites):
            try:
                add_masks(found, [self._mask(position, other)])
            except NotEnoughSharesError:
                continue
        return found


def summed(vectors: Sequence[RingVector]) -> RingVector:
    """The sum in the ring."""
    total = vectors[0].copy()
    for vector in vectors[1:]:
        np.add(total, vector, out=total)
    return total


def upload_bytes(sites: int) -> int:
    """Length of the message of step 3 without the masked update."""
    return 34 + 32 * sites + (sites - 1) * packet_bytes(sites)


@lru_cache(maxsize=4096)
def _weights(holders: tuple[int, ...]) -> tuple[int, ...]:
    return lagrange_weights(holders)
