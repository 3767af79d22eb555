"""Who is given a channel, and which."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from protocols.bitcoin.secp256k1 import is_point
from protocols.bitcoin.target import work as work_of
from protocols.ehash.errors import KeyTextError
from protocols.ehash.key_text import parse_identity
from protocols.ehash.messages import EXTENSION, TLV_CHANNEL_KEY
from protocols.mining.channel import ExtendedChannel, StandardChannel
from protocols.mining.errors import (
    BannedByOperator,
    CapacityExhausted,
    CustomWorkRequired,
    InvalidUserIdentity,
    MaxTargetOutOfRange,
    MinExtranonceSizeTooLarge,
    StandardJobsRequired,
    UnknownUser,
)
from protocols.mining.group import Group
from protocols.mining.vardiff import probe_hashes
from protocols.sv2.errors import MalformedTlv
from protocols.sv2.mining import OpenExtendedMiningChannel, OpenStandardMiningChannel
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION
from protocols.sv2.tlv import Tlv, find_tlv
from roles.pool.books import Prefixes
from roles.pool.figures import Figures
from roles.pool.miner_channel import MinerChannel
from roles.pool.revival import Revived
from roles.pool.terms import Terms
from roles.pool.workshop import Workshop
from roles.runtime.ban_list import BanList
from roles.stratum.difficulties import Difficulties

OpenRequest = OpenStandardMiningChannel | OpenExtendedMiningChannel

is_key = lru_cache(maxsize=65_536)(is_point)
"""Whether 33 bytes are a locking key; remembered, because the same keys come again and again."""

ALIKE = 1_024
"""Targets that are remembered, so that channels with the same one hold the same number."""


class Admission:
    """Opens channels, or refuses them with the code for the client."""

    def __init__(
        self,
        terms: Terms,
        workshop: Workshop,
        prefixes: Prefixes,
        difficulties: Difficulties,
        *,
        figures: Figures,
        bans: BanList,
    ) -> None:
        self._figures = figures
        self._bans = bans
        self._terms = terms
        self._workshop = workshop
        self._prefixes = prefixes
        self._difficulties = difficulties
        self._hosts: Counter[str] = Counter()
        self._target = lru_cache(maxsize=ALIKE)(terms.rule.target)
        self._same = lru_cache(maxsize=ALIKE)(int)

    def open(
        self,
        request: OpenRequest,
        tlvs: Iterable[Tlv],
        *,
        channel_id: int,
        open_channels: int,
        flags: int,
        now: float,
        group: Group | None = None,
        host: str = "",
        revived: Revived | None = None,
    ) -> MinerChannel:
        """A channel for a request on a connection that has `open_channels` and was set up with `flags`.

        `group` is what the connection's channels have in common, `host` where it comes from. One that is
        `revived` goes on where it was, with the prefix that it had.

        `tlvs` are those of extensions that the connection uses. Raises OpenRefused.
        """
        terms = self._terms
        _check_kind(request, flags)
        if open_channels >= terms.channels:
            raise CapacityExhausted(f"the connection has {open_channels} channels")
        if self._hosts[host] >= terms.channels_of_host:
            raise CapacityExhausted(f"its host has {self._hosts[host]} channels")
        key = self.key_of(request.user_identity, tlvs)
        network = self._hardest(request)
        target, wanted, is_known = self._aim(request, host, network, revived)
        kind = ExtendedChannel if isinstance(request, OpenExtendedMiningChannel) else StandardChannel
        channel = kind(
            channel_id,
            self._prefixes.grant() if revived is None else revived.prefix,
            target=target,
            max_target=self._same(request.max_target),
            key=key,
            group=group,
        )
        if revived is not None:
            channel.resume(revived.targets, revived.jobs, revived.last_id)
        self._hosts[host] += 1
        member = MinerChannel(
            channel,
            terms,
            now,
            wanted=wanted,
            # Zero is the common case, and the constant takes nothing.
            declared=request.nominal_hash_rate or 0.0,
            is_known=is_known,
            host=host,
            user=request.user_identity,
            figures=self._figures,
        )
        self._figures.enter(member)
        return member

    def _hardest(self, request: OpenRequest) -> int:
        """The target of a block, if it leaves room for what a request wants; raises OpenRefused."""
        if isinstance(request, OpenExtendedMiningChannel):
            least, given = request.min_extranonce_size, ExtendedChannel.extranonce_size
            if least > given:
                raise MinExtranonceSizeTooLarge(f"{least} bytes wanted, {given} given")
        tip = self._workshop.tip
        if tip is None:
            raise CapacityExhausted("there is no work yet")
        if request.max_target < tip.block_target:
            raise MaxTargetOutOfRange("the client's easiest share is harder than a block")
        return tip.block_target

    def _aim(
        self, request: OpenRequest, host: str, network: int, revived: Revived | None
    ) -> tuple[int, int, bool]:
        """The target and the hashes that a miner begins with, and whether that is known to suit it."""
        recalled = self._difficulties.recall(host, request.user_identity)
        if revived is not None:
            return revived.target, work_of(revived.target), True
        wanted = recalled or probe_hashes(request.nominal_hash_rate, self._terms.shares_per_minute)
        target = self._target(wanted, network=network, max_target=request.max_target)
        return target, wanted, bool(recalled)

    def give_up(self, prefix: bytes) -> None:
        """Nothing comes of a channel that could have been resumed."""
        self._prefixes.release(prefix)

    def close(self, channel: MinerChannel) -> None:
        """A channel is gone."""
        self._figures.leave(channel)
        self._prefixes.release(channel.channel.prefix)
        self._hosts[channel.host] -= 1
        if not self._hosts[channel.host]:
            del self._hosts[channel.host]
        if channel.hashes:
            self._difficulties.keep(channel.host, channel.user, channel.hashes)

    def bars(self, member: MinerChannel) -> bool:
        """Whether the operator turns away by now whom a channel was opened for."""
        return self._bans.bars_miner(member.user, member.channel.key)

    def key_of(self, user: str, tlvs: Iterable[Tlv]) -> bytes | None:
        """The locking key that a request names, None where it names none; raises OpenRefused."""
        try:
            key = find_tlv(tlvs, EXTENSION, TLV_CHANNEL_KEY)
            if key is not None:
                if not is_key(key):
                    raise InvalidUserIdentity("the channel's locking key is not a point of the curve")
            else:
                key = parse_identity(user).key
        except (MalformedTlv, KeyTextError) as error:
            raise InvalidUserIdentity(str(error)) from error
        users = self._terms.users
        if users is not None and user.partition(".")[0] not in users:
            raise UnknownUser("the operator does not serve this user")
        if key is None and not self._terms.keyless:
            raise InvalidUserIdentity("the channel names no locking key, and this pool serves none without")
        if self._bans.bars_miner(user, key):
            raise BannedByOperator("the operator turns this miner away")
        return key


def _check_kind(request: OpenRequest, flags: int) -> None:
    """Raise OpenRefused for a kind of channel that a connection with these flags has no use for."""
    extended = isinstance(request, OpenExtendedMiningChannel)
    if extended and flags & REQUIRES_STANDARD_JOBS:
        raise StandardJobsRequired("the connection requires standard jobs")
    if not extended and flags & REQUIRES_WORK_SELECTION:
        raise CustomWorkRequired("the connection requires work selection")
