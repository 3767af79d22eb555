"""The two kinds of downstream channel: header-only ones, and those whose miner rolls an extranonce."""

from functools import partial
from typing import Final

from protocols.bitcoin.header import ROLLABLE_VERSION_BITS
from protocols.mining.errors import BadExtranonceSize, InvalidShare
from protocols.mining.share import GENERATION, extended_root
from protocols.sv2.codec import encode
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess,
    SubmitSharesExtended,
    SubmitSharesStandard,
)
from protocols.sv2.share_frame import ExtendedShare
from roles.proxy.channel import EdgeChannel
from roles.proxy.downstream_channel import Share
from roles.proxy.jobs import EdgeJob, EdgeWork, FutureJob
from roles.runtime import crash
from roles.stratum.connection import Plain

_FIXED_VERSION_BITS: Final = 0xFFFFFFFF ^ ROLLABLE_VERSION_BITS

GROUP_ID = 1
"""Every channel's group; jobs are never sent to it, because each channel's coinbase is its own."""


class StandardEdgeChannel(EdgeChannel):
    """The proxy makes the coinbase: the extranonce is the slice and zeros, and the miner gets a merkle
    root.
    """

    __slots__ = ()
    kind = "standard"

    def _success(self, target: int) -> Message:
        return OpenStandardMiningChannelSuccess(
            self._request.request_id, self.channel_id, target, self.slice, GROUP_ID
        )

    def _root(self, work: EdgeWork, head: bytes) -> bytes:
        return extended_root(work, head + self.slice + bytes(self.extranonce_size))

    def _announce(self, job: FutureJob, min_ntime: int | None) -> Plain:
        message = NewMiningJob(self.channel_id, job.job_id, min_ntime, job.work.version, job.root or b"")
        frame = encode(message)
        return frame.header(), frame.payload

    def _roll(self, share: Share, job: EdgeJob) -> tuple[bytes, bytes]:
        if not isinstance(share, SubmitSharesStandard):
            raise InvalidShare("an extended share on a standard channel")
        return bytes(self.extranonce_size), job.root or b""


class ExtendedEdgeChannel(EdgeChannel):
    """The miner rolls what the upstream grants behind the slice."""

    __slots__ = ()
    kind = "extended"

    def _success(self, target: int) -> Message:
        return OpenExtendedMiningChannelSuccess(
            self._request.request_id, self.channel_id, target, self.extranonce_size, self.slice, GROUP_ID
        )

    def _root(self, _work: EdgeWork, _head: bytes) -> None:
        return None

    def _announce(self, job: FutureJob, min_ntime: int | None) -> Plain:
        return job.work.form(min_ntime).fill(self.channel_id, job.job_id, job.head)

    def _roll(self, share: Share, job: EdgeJob) -> tuple[bytes, bytes]:
        if not isinstance(share, SubmitSharesExtended):
            raise InvalidShare("a standard share on an extended channel")
        if len(share.extranonce) != self.extranonce_size:
            raise BadExtranonceSize(
                f"{len(share.extranonce)} bytes of extranonce, {self.extranonce_size} agreed"
            )
        return share.extranonce, extended_root(job.work, job.head + self.slice + share.extranonce)

    def take(self, share: ExtendedShare, clock: int, now: float) -> bool:
        """The short way of a share that nothing is unusual about, at `clock` of Unix time and `now` of the
        loop's; False if it must go the long way, which comes to the same verdict.
        """
        jobs = self._jobs
        job = jobs.live(share.job_id)
        if job is None or len(share.extranonce) != self.extranonce_size:
            return False
        work, tip = job.work, job.tip
        if not tip.min_ntime <= share.ntime <= clock:
            return False
        if share.version != work.version and not (
            work.version_rolling and (share.version ^ work.version) & _FIXED_VERSION_BITS == 0
        ):
            return False
        rolled = self.slice + share.extranonce
        prove = work.prover(tip).prove
        _, share_hash = prove(job.head + rolled, share.version, share.ntime, share.nonce)
        number, seen, upstream = int.from_bytes(share_hash, "little"), jobs.seen, self.upstream
        recent = seen.recent
        if number > job.target or share_hash in recent or share_hash in seen.older:
            return False
        if len(recent) >= GENERATION or not upstream.has_room or not self.admits(now):
            return False
        recent[share_hash] = None
        verdicts = self._verdicts or self.verdicts
        verdicts.found(number, now)
        upstream.submit(
            job_id=job.origin,
            nonce=share.nonce,
            ntime=share.ntime,
            version=share.version,
            extranonce=self._padding + rolled if self._padding else rolled,
            settle=partial(self._settle, share.sequence_number, share_hash, job.target, now),
            now=now,
        )
        crash.once_sent("proxy.share-forwarded")
        return True
