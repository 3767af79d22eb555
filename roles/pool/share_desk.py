"""Shares from one segment: judged one by one, entered into the ledger at once, settled when that is done."""

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from protocols.bitcoin.target import work as work_of
from protocols.ehash.amount import share_amount
from protocols.ehash.messages import EXTENSION, TLV_SHARE_KEY
from protocols.mining.channel import ExtendedChannel
from protocols.mining.errors import (
    BannedByOperator,
    DifficultyTooLow,
    DuplicateShare,
    InvalidUserIdentity,
    ShareRefused,
    UnknownShareChannel,
)
from protocols.sv2.errors import MalformedTlv
from protocols.sv2.layout import Message
from protocols.sv2.mining import SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard
from protocols.sv2.share_frame import ExtendedShare
from protocols.sv2.tlv import Tlv, find_tlv
from roles.credit.disk import DiskWatch
from roles.credit.ledger_rows import Entry, Fate, Outcome
from roles.pool.books import BlockBook, ShareBook
from roles.pool.meters import Meters
from roles.pool.miner_channel import MinerChannel
from roles.pool.recollection import ShareKeys
from roles.pool.terms import Terms
from roles.runtime.errors import StorageError

_log = logging.getLogger(__name__)

Submission = SubmitSharesStandard | SubmitSharesExtended | ExtendedShare


class InvalidShareKey(ShareRefused):
    """The locking key that came with the share is none."""

    code = InvalidUserIdentity.code


class BarredShareKey(ShareRefused):
    """The operator turns away whom the share is for."""

    code = BannedByOperator.code


class ShareNotStored(ShareRefused):
    """The ledger could not take the share; it may be submitted again."""

    code = "share-not-stored"


class LedgerFull(ShareRefused):
    """The ledger's disk has no room to spare for new shares."""

    code = "ledger-full"


class Judged(NamedTuple):
    """A good share; `entry` is for the ledger, None where it is worth nothing or came before.

    The short way makes bare tuples of the same fields, as it does of entries: take them by place.
    """

    member: MinerChannel
    sequence_number: int
    share_hash: bytes
    work: int
    repeated: bool
    entry: Entry | None


class Credit(NamedTuple):
    """Neighbouring shares of one channel that are durable: `shares` up to the sequence number `last`.

    `new` of them were not there before, and took `work` expected hashes.
    """

    member: MinerChannel
    last: int
    shares: int
    new: int
    work: int


class ShareDesk:
    """Judges and records shares for all connections; `bars_key` says whose may not be named by a share."""

    def __init__(
        self,
        terms: Terms,
        ledger: ShareBook,
        blocks: BlockBook,
        meters: Meters,
        disk: DiskWatch,
        *,
        bars_key: Callable[[bytes], bool],
    ) -> None:
        self._bars_key = bars_key
        self._terms = terms
        self._blocks = blocks
        self._meters = meters
        self.disk = disk
        self.enter = ledger.enter
        """Makes shares durable, if the disk has room; has told what is nothing for the ledger, too."""

    def judge(
        self,
        member: MinerChannel | None,
        share: Submission,
        tlvs: tuple[Tlv, ...],
        *,
        now: int,
        keys: ShareKeys,
    ) -> Judged:
        """The verdict on a share at `now` (unix seconds), raising ShareRefused; a block is sent at once.

        `keys` are those known of the connection.
        """
        if member is None:
            raise UnknownShareChannel(f"no channel {share.channel_id}")
        channel = member.channel
        own = _share_key(tlvs) if tlvs else None
        key = channel.key if own is None else own
        if isinstance(channel, ExtendedChannel):
            if isinstance(share, SubmitSharesStandard):
                raise UnknownShareChannel("a standard share on an extended channel")
            verdict = channel.judge(share, key, now)
        else:
            if not isinstance(share, SubmitSharesStandard):
                raise UnknownShareChannel("an extended share on a standard channel")
            verdict = channel.judge(share, key, now)
        share_hash, header, job, _, block, credited, repeated = verdict
        if block and not repeated:
            self._blocks.found(verdict)
        if not credited:
            raise DifficultyTooLow("a block, but above the target that the client asked for")
        if own is not None and not keys.accept(own):
            channel.seen.forget(share_hash)
            raise InvalidShareKey("the share's locking key is not a point of the curve")
        if own is not None and not repeated and self._bars_key(own):
            channel.seen.forget(share_hash)
            raise BarredShareKey("the operator turns this locking key away")
        entry = None
        if not repeated:
            target, terms = job.target, self._terms
            amount = share_amount(share_hash, target, terms.rule.minimum, terms.valuation)
            if amount:
                entry = Entry(share_hash, header, target, amount, key, block)
        return Judged(member, share.sequence_number, share_hash, work_of(job.target), repeated, entry)

    def not_stored(self, shares: Iterable[Judged], error: StorageError) -> list[Message]:
        """The errors for shares that the ledger could not take."""
        failed = ShareNotStored(str(error))
        return [self._forget(share, failed) for share in shares]

    def settle(
        self, shares: list[Judged], outcome: Outcome | None, start: int = 0
    ) -> tuple[list[Credit], list[Message]]:
        """What is durable now or was before, and the errors for what is not.

        `outcome` is what the ledger says of the entries among them, from place `start` on; None where it was
        given none.
        """
        is_plain = outcome is not None and outcome.records is None
        credits: list[Credit] = []
        errors: list[Message] = []
        member: MinerChannel | None = None
        last = count = new = work = 0
        place = start
        for share in shares:
            mine, sequence, _, hashes, repeated, entry = share
            is_new = not repeated
            if entry is None or not is_plain:
                try:
                    is_new = self._is_new(share, outcome, place)
                except ShareRefused as error:
                    errors.append(self._forget(share, error))
                    continue
                finally:
                    place += entry is not None
            if mine is not member:
                if member is not None:
                    credits.append(Credit(member, last, count, new, work))
                member, count, new, work = mine, 0, 0, 0
            last = sequence
            count += 1
            if is_new:
                new += 1
                work += hashes
        if member is not None:
            credits.append(Credit(member, last, count, new, work))
        self._count(credits)
        return credits, errors

    def refuse(self, channel_id: int, sequence_number: int, error: ShareRefused) -> SubmitSharesError:
        """The answer to a share that earns nothing."""
        self._meters.rejected.labels(error.code).inc()
        return SubmitSharesError(channel_id, sequence_number, error.code)

    def _is_new(self, share: Judged, outcome: Outcome | None, place: int) -> bool:
        """Whether a durable share was not there before; raises what it is to be refused with."""
        member, _, share_hash, _, repeated, entry = share
        if repeated:
            # The first one is settled by now; where it came to nothing, nobody knows this one either.
            if share_hash not in member.channel.seen:
                failed = LedgerFull if self.disk.is_low else ShareNotStored
                raise failed("the share of which this is a repetition was not stored")
            return False
        if entry is None:
            return True
        if outcome is None:
            raise LedgerFull("the ledger's disk is nearly full")
        fate = outcome.of(place).fate
        if fate is Fate.DUPLICATE:
            raise DuplicateShare("the ledger has this share")
        return fate is Fate.RECORDED

    def _count(self, credits: Iterable[Credit]) -> None:
        accepted = work = repeated = 0
        for credit in credits:
            accepted += credit.new
            work += credit.work
            repeated += credit.shares - credit.new
        if accepted:
            self._meters.accepted.inc(accepted)
            self._meters.work.inc(work)
        if repeated:
            self._meters.repeated.inc(repeated)

    def _forget(self, share: Judged, error: ShareRefused) -> Message:
        """Refuse a good share; when it comes again the ledger is asked again."""
        member, sequence, share_hash, *_ = share
        member.channel.seen.forget(share_hash)
        return self.refuse(member.channel.channel_id, sequence, error)


def _share_key(tlvs: Iterable[Tlv]) -> bytes | None:
    try:
        return find_tlv(tlvs, EXTENSION, TLV_SHARE_KEY)
    except MalformedTlv as error:
        raise InvalidShareKey(str(error)) from error
