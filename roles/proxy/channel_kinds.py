"""The two kinds of downstream channel: header-only ones, and those whose miner rolls an extranonce."""

from protocols.mining.errors import BadExtranonceSize, InvalidShare
from protocols.mining.job import Job, Work
from protocols.mining.share import extended_root
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess,
    SubmitSharesExtended,
    SubmitSharesStandard,
)
from roles.proxy.channel import EdgeChannel
from roles.proxy.downstream_channel import Share
from roles.proxy.jobs import origin_of

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

    def _root(self, work: Work) -> bytes:
        return extended_root(work, self.slice + bytes(self.extranonce_size))

    def _announce(self, job_id: int, min_ntime: int | None, work: Work, root: bytes | None) -> Message:
        return NewMiningJob(self.channel_id, job_id, min_ntime, work.version, root or b"")

    def _roll(self, share: Share, job: Job) -> tuple[bytes, bytes]:
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

    def _root(self, _work: Work) -> None:
        return None

    def _announce(self, job_id: int, min_ntime: int | None, work: Work, _root: bytes | None) -> Message:
        return NewExtendedMiningJob(
            self.channel_id,
            job_id,
            min_ntime,
            work.version,
            origin_of(work).version_rolling,
            work.merkle_path,
            work.prefix,
            work.suffix,
        )

    def _roll(self, share: Share, job: Job) -> tuple[bytes, bytes]:
        if not isinstance(share, SubmitSharesExtended):
            raise InvalidShare("a standard share on an extended channel")
        if len(share.extranonce) != self.extranonce_size:
            raise BadExtranonceSize(
                f"{len(share.extranonce)} bytes of extranonce, {self.extranonce_size} agreed"
            )
        return share.extranonce, extended_root(job.work, self.slice + share.extranonce)
