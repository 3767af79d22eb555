import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv1.messages import Call, parse
from protocols.sv1.plain_submit import PlainSubmit, read_plain_submit
from protocols.sv1.requests import read_submit

PARAMS = ["rig.1", "1f", "0102030405060708", "65a1b2c3", "DEADbeef"]


def line(params: Any = PARAMS, id: Any = 7, method: str = "mining.submit", **more: Any) -> bytes:
    return json.dumps({"id": id, "method": method, "params": params, **more}).encode()


def test_a_plain_submit_is_read() -> None:
    expected = PlainSubmit(7, "1f", bytes(range(1, 9)), 0x65A1B2C3, 0xDEADBEEF, 0, "rig.1")
    assert read_plain_submit(line(), 8) == expected
    assert read_plain_submit(line([*PARAMS, ""]), 8) == expected
    assert read_plain_submit(line([*PARAMS, "00006000"]), 8) == expected._replace(version_bits=0x6000)
    assert read_plain_submit(line(jsonrpc="2.0"), 8) == expected


def changed(place: int, value: Any) -> bytes:
    return line([*PARAMS[:place], value, *PARAMS[place + 1 :]])


@pytest.mark.parametrize(
    "other",
    [
        b"{",
        b"[1]",
        b'"mining.submit"',
        b'["mining.submit"]',
        b'{"method":"mining.submit","params":[]}',
        b'{"id":1,"method":"mining.submit"}',
        line(method="mining.authorize"),
        line(method="x", more="mining.submit"),
        line(id="7"),
        line(id=None),
        line(id=7.5),
        line(id=True),
        line(dict.fromkeys("abcde", "")),
        line(PARAMS[:4]),
        line([*PARAMS, "00006000", "x"]),
        line([*PARAMS, None]),
        line([*PARAMS, "6000"]),
        changed(0, 5),
        changed(1, 5),
        changed(2, "01020304"),
        changed(2, "010203040506070"),
        changed(2, " 102030405060708"),
        changed(3, "65a1b2"),
        changed(3, "0x65a1b2"),
        changed(3, "65a1 b2c"),
        changed(3, 1704047299),
        changed(4, "f"),
        changed(4, "65 1b2c3"),
        changed(4, "gggggggg"),
        changed(4, ["65a1b2c3"]),
    ],
)
def test_any_other_line_is_left_to_the_readers_that_know_all(other: bytes) -> None:
    assert read_plain_submit(other, 8) is None


hexes = st.sampled_from(["65a1b2c3", "DEADBEEF", "0x65a1b2", "65a1 b2c", "", "f", "00000000"])
params = st.lists(st.one_of(hexes, st.none(), st.integers(), st.text(max_size=9)), min_size=3, max_size=7)


@settings(max_examples=300, deadline=None)
@given(params, st.one_of(st.integers(-5, 1 << 70), st.text(max_size=3)))
def test_what_is_read_both_ways_is_the_same(rest: list[Any], id: Any) -> None:
    text = line(["rig", "1", *rest], id)
    plain = read_plain_submit(text, 4)
    if plain is not None:
        call = parse(text)
        assert isinstance(call, Call)
        read = read_submit(call.params)
        assert call.id == b"%d" % plain.id
        fields = (read.job_id, read.extranonce2, read.ntime, read.nonce, read.version_bits, read.user)
        assert fields == plain[1:]
