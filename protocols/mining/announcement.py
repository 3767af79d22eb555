"""A job that many connections are told of: encoded once, with the ids in front that differ between them."""

from struct import Struct

from protocols.mining.job import Tip, Work
from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash

_IDS = Struct("<II")
"""The channel or group, and the job: what the payload of both messages begins with."""


class Announcement:
    """The messages of an extended job on a tip: of a future one with what activates it, or of one to start on
    at once. `min_ntime` of such a one is the tip's unless it is given.
    """

    __slots__ = ("_activation", "_job")

    def __init__(
        self,
        work: Work,
        tip: Tip,
        *,
        future: bool,
        min_ntime: int | None = None,
        version_rolling: bool = True,
    ) -> None:
        least = tip.min_ntime if min_ntime is None else min_ntime
        job = NewExtendedMiningJob(
            0,
            0,
            None if future else least,
            work.version,
            version_rolling,
            work.merkle_path,
            work.prefix,
            work.suffix,
        )
        self._job = encode(job).payload[_IDS.size :]
        self._activation = b""
        if future:
            activation = SetNewPrevHash(0, 0, tip.previous, tip.min_ntime, tip.bits)
            self._activation = encode(activation).payload[_IDS.size :]

    def frames(self, channel_id: int, job_id: int) -> list[Frame]:
        """The messages for a channel or group under an id of the connection's."""
        ids = _IDS.pack(channel_id, job_id)
        frames = [Frame(0, True, NewExtendedMiningJob.msg_type, ids + self._job)]
        if self._activation:
            frames.append(Frame(0, True, SetNewPrevHash.msg_type, ids + self._activation))
        return frames
