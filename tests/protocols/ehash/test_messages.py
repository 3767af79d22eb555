from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.ehash import messages as m
from protocols.sv2.codec import MINING, encode
from protocols.sv2.errors import Sv2Error
from protocols.sv2.frame import Frame

u8, u32, u64 = st.integers(0, 2**8 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
text = st.text(max_size=60)


def raw(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


rows = st.builds(m.CreditRow, raw(80), st.integers(0, 2**256 - 1), u64, u8, raw(33))
results = st.builds(m.CreditResult, u64, u8)
of_mining = st.one_of(
    st.builds(m.QuoteNotice, u32, raw(32), u64, text), st.builds(m.CreditRefused, u32, u32, text)
)
of_issuance = st.one_of(
    st.builds(m.IssuerHello, raw(33), raw(64), raw(16), u64),
    st.builds(m.IssuerHelloSuccess, u64, u32, u32, text, raw(33)),
    st.builds(m.Credits, u64, u32, u8, u8, st.lists(rows, max_size=4).map(tuple)),
    st.builds(m.CreditResults, u64, st.lists(results, max_size=4).map(tuple)),
)

ON_MINING_LINK = MINING.with_messages(*m.MINING_MESSAGES)


@given(of_mining)
@settings(max_examples=100, deadline=None)
def test_hints_survive_the_mining_link_with_the_channel_bit(message: Any) -> None:
    frame = encode(message)
    assert frame.channel
    assert frame.extension == 0x4548
    assert frame.channel_id == message.channel_id
    assert ON_MINING_LINK.decode(frame) == (message, ())


@given(of_issuance)
@settings(max_examples=100, deadline=None)
def test_the_ledger_survives_the_issuance_link_without_the_channel_bit(message: Any) -> None:
    frame = encode(message)
    assert not frame.channel
    assert m.ISSUANCE.decode(frame) == (message, ())


@given(st.sampled_from(m.ISSUANCE_MESSAGES), st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_payload_raises_anything_but_a_protocol_error(declared: type[Any], payload: bytes) -> None:
    frame = Frame(declared.extension, declared.channel, declared.msg_type, payload)
    try:
        m.ISSUANCE.decode(frame)
    except Sv2Error:
        pass


def test_a_row_takes_154_bytes_so_that_a_full_frame_stays_small() -> None:
    row = m.CreditRow(bytes(80), 1, 2, m.FLAG_BLOCK, bytes(33))
    full = encode(m.Credits(1, 0, 32, 0, (row,) * m.MAX_CREDITS))
    assert len(full.payload) == 8 + 4 + 1 + 1 + 2 + 154 * m.MAX_CREDITS


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        (
            m.QuoteNotice(7, bytes(range(32)), 258, "u"),
            "48c5002e00000700000000" + bytes(range(1, 32)).hex() + "0201000000000000" + "0175",
        ),
        (
            m.CreditRefused(7, 9, "bad-key"),
            "48c501100000" + "07000000" + "09000000" + "07" + b"bad-key".hex(),
        ),
        (
            m.CreditResults(5, (m.CreditResult(6, 16),)),
            "484513130000" + "0500000000000000" + "0100" + "060000000000000010",
        ),
    ],
)
def test_the_bytes_on_the_wire_are_these(message: Any, plain: str) -> None:
    frame = encode(message)
    assert (frame.header() + frame.payload).hex() == plain
