"""Shares from one segment: judged one by one, entered into the ledger at once, settled when that is done."""

import logging
from asyncio import CancelledError, Future
from collections.abc import Iterable, Iterator
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
Entered = Future[list[Record]]


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
    """A good share that waits to be durable; `amount` 0 is worth nothing and needs no ledger.

    A repetition goes to the ledger as well, which alone knows whether the share stands there: the first one
    may still be on its way, or may have come to nothing.
    """

    member: MinerChannel
    sequence_number: int
    verdict: Verdict
    key: bytes | None
    amount: int

    @property
    def is_recorded(self) -> bool:
        return self.amount > 0

    @property
    def is_known(self) -> bool:
        """Whether it came before and is durable, once all that came before it is settled."""
        return self.verdict.repeated and self.verdict.share_hash in self.member.channel.seen


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
    ) -> Judged | SubmitSharesError:
        """The verdict on a share at `now` (unix seconds), or the error to answer; a block is sent at once.

        `keys` are those known of the connection.
        """
        try:
            return self._judge(member, share, tlvs, now, keys)
        except ShareRefused as error:
            return self.refuse(share.channel_id, share.sequence_number, error)

    def enter(self, judged: list[Judged]) -> Entered | None:
        """Begin to make shares durable; None where there is nothing that the ledger can be given."""
        entries = [] if self._disk.is_low else [_entry(share) for share in judged if share.is_recorded]
        if not entries:
            return None
        crash.at("pool.shares-judged")
        return self._ledger.enter(entries)

    def settle(self, judged: list[Judged], entered: Entered | None) -> tuple[list[Settled], list[Message]]:
        """Shares that are durable now or were before, and the errors for those that are not.

        `entered` is what `enter` gave for them and is done. Raises what it raises but for StorageError.
        """
        if entered is None:
            return self._settle(judged, None)
        try:
            records = entered.result()
        except StorageError as error:
            _log.error("shares cannot be stored", extra={"shares": len(judged), "reason": str(error)})
            failed = ShareNotStored(str(error))
            return [], [self._forget(share, failed) for share in judged]
        crash.at("pool.shares-durable")
        return self._settle(judged, iter(records))

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

    def _settle(
        self, judged: list[Judged], records: Iterator[Record] | None
    ) -> tuple[list[Settled], list[Message]]:
        """`records` None: the ledger takes nothing; blocks among the shares have been sent already."""
        settled: list[Settled] = []
        errors: list[Message] = []
        accepted = total = 0
        for share in judged:
            seq = work = 0
            if not share.is_recorded:
                is_new = not share.verdict.repeated
            elif records is None and share.is_known:
                is_new = False
            elif records is None:
                errors.append(self._forget(share, LedgerFull("the ledger's disk is nearly full")))
                continue
            else:
                fate, seq = next(records)
                if fate is Fate.DUPLICATE:
                    errors.append(self._forget(share, DuplicateShare("the ledger has this share")))
                    continue
                is_new = fate is Fate.RECORDED
            if is_new:
                work = work_of(share.verdict.job.target)
                accepted += 1
                total += work
            else:
                self._meters.repeated.inc()
                seq = 0
            settled.append(Settled(share.member, share.sequence_number, seq, work))
        if accepted:
            self._meters.accepted.inc(accepted)
            self._meters.work.inc(total)
        return settled, errors

    def _forget(self, share: Judged, error: ShareRefused) -> Message:
        """Refuse a good share; when it comes again the ledger is asked again."""
        channel = share.member.channel
        channel.seen.forget(share.verdict.share_hash)
        return self.refuse(channel.channel_id, share.sequence_number, error)


def fault_of(entered: Entered | None) -> BaseException | None:
    """Why it is not known what became of shares, where neither records nor a StorageError tell."""
    if entered is None:
        return None
    error = CancelledError() if entered.cancelled() else entered.exception()
    return None if isinstance(error, StorageError) else error


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
