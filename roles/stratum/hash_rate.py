"""The answer to a client whose hash rate is no number."""

from protocols.mining.errors import InvalidNominalHashrate, InvalidUpdatedHashrate
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.mining import OpenMiningChannelError, UpdateChannel, UpdateChannelError

__all__ = ["refuse_hash_rate"]


def refuse_hash_rate(frame: Frame) -> Message:
    """The error for an open or update whose F32 could not be decoded; both begin with the id to be echoed."""
    echoed = int.from_bytes(frame.payload[:4], "little")
    if frame.msg_type == UpdateChannel.msg_type:
        return UpdateChannelError(echoed, InvalidUpdatedHashrate.code)
    return OpenMiningChannelError(echoed, InvalidNominalHashrate.code)
