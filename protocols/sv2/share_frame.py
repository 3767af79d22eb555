"""Extended shares and their answers as busy peers read and write them: a few calls each, no layout.

What the catalogue would make of the same bytes, at a tenth of the cost.
"""

from struct import Struct, error
from typing import NamedTuple

from protocols.sv2.errors import EncodeError, MalformedMessage
from protocols.sv2.frame import CHANNEL_BIT, HEADER
from protocols.sv2.mining import SubmitSharesExtended, SubmitSharesSuccess

SHARE = HEADER.pack(CHANNEL_BIT, SubmitSharesExtended.msg_type, 0, 0)[:3]
"""How the header of an extended share begins, as clients send it."""

MAX_EXTRANONCE = 32

_SHARE = Struct("<6IB")
_SUCCESS = Struct("<3IQ")
SUCCESS = HEADER.pack(CHANNEL_BIT, SubmitSharesSuccess.msg_type, _SUCCESS.size, 0)
"""The header of SubmitSharesSuccess."""
pack_success = _SUCCESS.pack
"""The payload of SubmitSharesSuccess, from the same numbers as `success`."""
SHARE_HEADERS = tuple(
    HEADER.pack(CHANNEL_BIT, SubmitSharesExtended.msg_type, _SHARE.size + size, 0)
    for size in range(MAX_EXTRANONCE + 1)
)
"""The headers of extended shares, by the size of their extranonce."""


class ExtendedShare(NamedTuple):
    """The fields of SubmitSharesExtended."""

    channel_id: int
    sequence_number: int
    job_id: int
    nonce: int
    ntime: int
    version: int
    extranonce: bytes


def read_share(payload: bytes) -> tuple[ExtendedShare, int]:
    """The share in a payload, and where it ends: TLVs may follow. Raises MalformedMessage."""
    try:
        channel_id, sequence_number, job_id, nonce, ntime, version, size = _SHARE.unpack_from(payload)
    except error:
        raise MalformedMessage("SubmitSharesExtended: payload ends inside its fixed part") from None
    end = _SHARE.size + size
    extranonce = payload[_SHARE.size : end]
    if len(extranonce) != size or size > MAX_EXTRANONCE:
        raise MalformedMessage("SubmitSharesExtended: no extranonce of up to 32 bytes")
    # Its own constructor takes three times as long.
    fields = (channel_id, sequence_number, job_id, nonce, ntime, version, extranonce)
    return tuple.__new__(ExtendedShare, fields), end


def share_frame(payload: bytes) -> tuple[bytes, bytes]:
    """Header and payload of SubmitSharesExtended, for a payload that `write_share` could have made."""
    return SHARE_HEADERS[len(payload) - _SHARE.size], payload


def success(channel_id: int, last: int, count: int, total: int) -> tuple[bytes, bytes]:
    """SubmitSharesSuccess as header and payload: the last of `count` accepted shares, whose difficulties sum
    to `total`.
    """
    return SUCCESS, pack_success(channel_id, last, count, total)


def read_success(payload: bytes) -> tuple[int, int, int]:
    """Channel, last sequence number and count of the SubmitSharesSuccess in a payload that its header says
    is one of `SUCCESS`.
    """
    channel_id, last, count, _ = _SUCCESS.unpack(payload)
    return channel_id, last, count


def write_share(numbers: tuple[int, int, int, int, int, int], extranonce: bytes) -> tuple[bytes, bytes]:
    """SubmitSharesExtended as header and payload; `numbers` are all fields before the extranonce, in order.

    Raises EncodeError for what does not fit.
    """
    size = len(extranonce)
    if size > MAX_EXTRANONCE:
        raise EncodeError(f"an extranonce of {size} bytes does not fit a share")
    try:
        fixed = _SHARE.pack(*numbers, size)
    except error as reason:
        raise EncodeError(f"SubmitSharesExtended: {reason}") from reason
    return SHARE_HEADERS[size], fixed + extranonce
