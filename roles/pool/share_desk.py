"""Shares from one segment: judged one by one, recorded by one write, answered in their order."""

import logging
from collections.abc import Iterable
from typing import NamedTuple

from protocols.bitcoin.target import work as work_of
from protocols.ehash.amount import share_amount
from protocols.ehash.messages import EXTENSION, TLV_SHARE_KEY
from protocols.mining.channel import StandardChannel
from protocols.mining.errors import (
    DifficultyTooLow,
    DuplicateShare,
    InvalidUserIdentity,
    ShareRefused,
    TooManyShares,
    UnknownShareChannel,
)
from protocols.mining.share import Verdict
from protocols.sv2.errors import MalformedTlv
from protocols.sv2.layout import Message
from protocols.sv2.mining import SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard
from protocols.sv2.tlv import Tlv, find_tlv
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry, Fate, Record
from roles.pool.blocks import BlockDesk
from roles.pool.disk import DiskWatch
from roles.pool.meters import Meters
from roles.pool.miner_channel import MinerChannel
from roles.pool.recollection import ShareKeys
from roles.pool.terms import Terms
from roles.runtime import crash
from roles.runtime.errors import StorageError

_log = logging.getLogger(__name__)

Submission = SubmitSharesStandard | SubmitSharesExtended


class InvalidShareKey(ShareRefused):
    """The locking key that came with the share is none."""

    code = InvalidUserIdentity.code


class ShareNotStored(ShareRefused):
    """The ledger could not take the share; it may be submitted again."""

    code = "share-not-stored"


class LedgerFull(ShareRefused):
    """The ledger's disk has no room to spare for new shares."""

    code = "ledger-full"


class Judged(NamedTuple):
    """A good share that waits to be durable; `amount` 0 is worth nothing and needs no ledger."""

    member: MinerChannel
    sequence_number: int
    verdict: Verdict
    key: bytes | None
    amount: int

    @property
    def is_recorded(self) -> bool:
        return self.amount > 0 and not self.verdict.repeated


class Settled(NamedTuple):
    """A durable share: the ledger row it has made and its work in hashes, 0 where there is none."""

    member: MinerChannel
    sequence_number: int
    seq: int
    work: int


class ShareDesk:
    """Judges and records shares for all connections."""

    def __init__(
        self, terms: Terms, ledger: Ledger, blocks: BlockDesk, meters: Meters, disk: DiskWatch
    ) -> None:
        self._terms = terms
        self._ledger = ledger
        self._blocks = blocks
        self._meters = meters
        self._disk = disk

    def judge(
        self, member: MinerChannel | None, share: Submission, tlvs: Iterable[Tlv], now: int, keys: ShareKeys
    ) -> Judged | Message:
        """The verdict on a share at `now` (unix seconds), or the error to answer; a block is sent at once.

        `keys` are those known of the connection.
        """
        try:
            return self._judge(member, share, tlvs, now, keys)
        except ShareRefused as error:
            return self.refuse(share.channel_id, share.sequence_number, error)

    async def record(self, judged: list[Judged]) -> tuple[list[Settled], list[Message]]:
        """Make shares durable: those that are now or were before, and the errors for those that are not."""
        if self._disk.is_low:
            return self._without_ledger(judged)
        entries = [_entry(share) for share in judged if share.is_recorded]
        records: list[Record] = []
        if entries:
            crash.at("pool.shares-judged")
            try:
                records = await self._ledger.append(entries)
            except StorageError as error:
                _log.error("shares cannot be stored", extra={"shares": len(judged), "reason": str(error)})
                return [], [self._not_stored(share, error) for share in judged]
            crash.at("pool.shares-durable")
        return self._settle(judged, records)

    def refuse_excess(self, share: Submission) -> SubmitSharesError:
        """The answer to a share that its channel submits too fast; nothing of it is looked at."""
        error = TooManyShares("the channel submits too fast")
        return self.refuse(share.channel_id, share.sequence_number, error)

    def refuse(self, channel_id: int, sequence_number: int, error: ShareRefused) -> SubmitSharesError:
        """The answer to a share that earns nothing."""
        self._meters.rejected.labels(error.code).inc()
        return SubmitSharesError(channel_id, sequence_number, error.code)

    def _judge(
        self, member: MinerChannel | None, share: Submission, tlvs: Iterable[Tlv], now: int, keys: ShareKeys
    ) -> Judged:
        channel = member.channel if member else None
        if member is None or channel is None:
            raise UnknownShareChannel(f"no channel {share.channel_id}")
        own = _share_key(tlvs)
        key = channel.key if own is None else own
        if isinstance(channel, StandardChannel):
            if not isinstance(share, SubmitSharesStandard):
                raise UnknownShareChannel("an extended share on a standard channel")
            verdict = channel.judge(share, key, now)
        else:
            if not isinstance(share, SubmitSharesExtended):
                raise UnknownShareChannel("a standard share on an extended channel")
            verdict = channel.judge(share, key, now)
        if verdict.block and not verdict.repeated:
            self._blocks.found(verdict)
        if not verdict.credited:
            raise DifficultyTooLow("a block, but above the target that the client asked for")
        if own is not None and not keys.accept(own):
            channel.seen.forget(verdict.share_hash)
            raise InvalidShareKey("the share's locking key is not a point of the curve")
        rule = self._terms.rule
        amount = share_amount(verdict.share_hash, verdict.job.target, rule.minimum, self._terms.valuation)
        return Judged(member, share.sequence_number, verdict, key, amount)

    def _settle(self, judged: list[Judged], records: list[Record]) -> tuple[list[Settled], list[Message]]:
        settled: list[Settled] = []
        errors: list[Message] = []
        fates = iter(records)
        accepted = total = 0
        for share in judged:
            fate, seq = next(fates) if share.is_recorded else (Fate.RECORDED, 0)
            if fate is Fate.DUPLICATE:
                error = DuplicateShare("the ledger has this share")
                errors.append(self.refuse(share.member.channel.channel_id, share.sequence_number, error))
                continue
            if share.verdict.repeated or fate is Fate.REPEATED:
                self._meters.repeated.inc()
                seq = work = 0
            else:
                work = work_of(share.verdict.job.target)
                accepted += 1
                total += work
            settled.append(Settled(share.member, share.sequence_number, seq, work))
        if accepted:
            self._meters.accepted.inc(accepted)
            self._meters.work.inc(total)
        return settled, errors

    def _without_ledger(self, judged: list[Judged]) -> tuple[list[Settled], list[Message]]:
        """As `record` where nothing new can be stored; blocks among them have been sent already."""
        settled, errors = self._settle([share for share in judged if not share.is_recorded], [])
        full = LedgerFull("the ledger's disk is nearly full")
        return settled, errors + [self._forget(share, full) for share in judged if share.is_recorded]

    def _not_stored(self, share: Judged, cause: StorageError) -> Message:
        return self._forget(share, ShareNotStored(str(cause)))

    def _forget(self, share: Judged, error: ShareRefused) -> Message:
        """Refuse a good share that may be submitted again."""
        channel = share.member.channel
        channel.seen.forget(share.verdict.share_hash)
        return self.refuse(channel.channel_id, share.sequence_number, error)


def _share_key(tlvs: Iterable[Tlv]) -> bytes | None:
    try:
        return find_tlv(tlvs, EXTENSION, TLV_SHARE_KEY) if tlvs else None
    except MalformedTlv as error:
        raise InvalidShareKey(str(error)) from error


def _entry(share: Judged) -> Entry:
    verdict = share.verdict
    return Entry(
        verdict.share_hash, verdict.header, verdict.job.target, share.amount, share.key, verdict.block
    )
