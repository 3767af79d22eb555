from dataclasses import astuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.sv2.codec import encode
from protocols.sv2.errors import EncodeError, MalformedMessage
from protocols.sv2.mining import SubmitSharesExtended, SubmitSharesSuccess
from protocols.sv2.share_frame import (
    SHARE,
    SUCCESS,
    read_share,
    read_success,
    share_frame,
    success,
    write_share,
)

U32 = st.integers(0, (1 << 32) - 1)
SHARES = st.builds(SubmitSharesExtended, U32, U32, U32, U32, U32, U32, st.binary(max_size=32))


@settings(max_examples=100, deadline=None)
@given(SHARES, st.binary(max_size=9))
@example(SubmitSharesExtended(1, 2, 3, 4, 5, 6, bytes(8)), b"tlv")
def test_a_share_is_read_as_the_catalogue_reads_it(share: SubmitSharesExtended, behind: bytes) -> None:
    frame = encode(share)
    read, end = read_share(frame.payload + behind)
    assert tuple(read) == astuple(share)
    assert end == len(frame.payload)
    assert frame.header().startswith(SHARE)


@pytest.mark.parametrize("size", [0, 1, 8, 32])
def test_a_share_that_is_cut_anywhere_is_malformed(size: int) -> None:
    payload = encode(SubmitSharesExtended(1, 2, 3, 4, 5, 6, bytes(range(size)))).payload
    for end in range(len(payload)):
        with pytest.raises(MalformedMessage):
            read_share(payload[:end])


def test_an_extranonce_of_more_than_32_bytes_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        read_share(bytes(24) + b"\x21" + bytes(33))


@settings(max_examples=50, deadline=None)
@given(U32, U32, U32, st.integers(0, (1 << 64) - 1))
@example(1, 2, 3, 4)
def test_a_success_is_written_as_the_catalogue_writes_it(
    channel: int, last: int, shares: int, total: int
) -> None:
    frame = encode(SubmitSharesSuccess(channel, last, shares, total))
    assert success(channel, last, shares, total) == (frame.header(), frame.payload)
    assert read_success(frame.payload) == (channel, last, shares)
    assert frame.header() == SUCCESS


@settings(max_examples=100, deadline=None)
@given(SHARES)
@example(SubmitSharesExtended(1, 2, 3, 4, 5, 6, bytes(8)))
def test_a_share_is_written_as_the_catalogue_writes_it(share: SubmitSharesExtended) -> None:
    frame = encode(share)
    *numbers, extranonce = astuple(share)
    channel, sequence, job, nonce, ntime, version = numbers
    written = write_share((channel, sequence, job, nonce, ntime, version), extranonce)
    assert written == (frame.header(), frame.payload)
    assert share_frame(frame.payload) == written


@pytest.mark.parametrize(("job", "extranonce"), [(1 << 32, b""), (1, bytes(33))])
def test_a_share_that_does_not_fit_is_not_written(job: int, extranonce: bytes) -> None:
    with pytest.raises(EncodeError):
        write_share((1, 1, job, 1, 1, 1), extranonce)
