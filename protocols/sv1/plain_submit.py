"""mining.submit as nearly all firmware writes it, read in one go."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

import orjson

__all__ = ["PlainSubmit", "read_plain_submit"]

_METHOD: Final = "mining.submit"
_MARK: Final = b'"mining.submit"'
_NUMBERS: Final = Struct(">2I")
_NUMBERS_AND_BITS: Final = Struct(">3I")


class PlainSubmit(NamedTuple):
    """A submit with a whole number for its id; the rest as in `Submit`."""

    id: int
    job_id: str
    extranonce2: bytes
    ntime: int
    nonce: int
    version_bits: int
    user: str


def read_plain_submit(line: bytes, extranonce2_size: int) -> PlainSubmit | None:
    """The submit of a line whose fields all have the lengths that they should have.

    None for any other line, be it a submit: `parse` and `read_submit` know them all, and make the same of
    this one.
    """
    if _MARK not in line:
        return None
    try:
        fields = orjson.loads(line)
        number, params = fields["id"], fields["params"]
        if fields["method"] != _METHOD or type(number) is not int or type(params) is not list:
            return None
        user, job_id, extranonce2, ntime, nonce, *rest = params
        bits, *more = rest or ("",)
        raw = bytes.fromhex(extranonce2 + ntime + nonce + bits)
    except (ValueError, TypeError, KeyError):
        return None
    if type(user) is not str or type(job_id) is not str or more:
        return None
    if len(ntime) != 8 or len(nonce) != 8 or len(extranonce2) != 2 * extranonce2_size:
        return None
    # Where lengths of text and bytes agree there was no space between digits.
    if not bits and len(raw) == extranonce2_size + 8:
        numbers = (*_NUMBERS.unpack_from(raw, extranonce2_size), 0)
    elif len(bits) == 8 and len(raw) == extranonce2_size + 12:
        numbers = _NUMBERS_AND_BITS.unpack_from(raw, extranonce2_size)
    else:
        return None
    # Its own constructor takes three times as long.
    return tuple.__new__(PlainSubmit, (number, job_id, raw[:extranonce2_size], *numbers, user))
