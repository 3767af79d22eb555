"""Frame headers, TLVs and frame size limits."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv2.codec import MINING, TEMPLATE_DISTRIBUTION
from protocols.sv2.errors import EncodeError, MalformedMessage, MalformedTlv, OversizedFrame
from protocols.sv2.frame import MAX_PAYLOAD, Frame, frame_from, parse_header
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import OpenExtendedMiningChannel
from protocols.sv2.template_distribution import RequestTransactionDataSuccess
from protocols.sv2.tlv import MAX_TLVS, Tlv, encode_tlvs, find_tlv, parse_tlvs

VECTORS = Path(__file__).parents[2] / "vectors" / "sv2" / "messages.json"


def vectors(kind: str) -> list[dict[str, Any]]:
    return [v for v in json.loads(VECTORS.read_text())["vectors"] if v["kind"] == kind]


@pytest.mark.parametrize("vector", vectors("header"), ids=lambda v: v["message"])
def test_published_headers_are_read_and_written(vector: dict[str, Any]) -> None:
    header = bytes.fromhex(vector["encoded"])
    assert parse_header(header) == (vector["extension_type"], False, vector["msg_type"], vector["msg_length"])
    frame = Frame(vector["extension_type"], False, vector["msg_type"], bytes(vector["msg_length"]))
    assert frame.header() == header


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 0x7FFF), st.booleans(), st.integers(0, 255), st.integers(0, 70_000))
def test_a_header_says_what_its_frame_is(extension: int, channel: bool, msg_type: int, size: int) -> None:
    frame = Frame(extension, channel, msg_type, bytes(size))
    assert parse_header(frame.header()) == (extension, channel, msg_type, size)
    assert frame_from(frame.header(), frame.payload) == frame


def test_the_channel_bit_is_the_most_significant_one() -> None:
    assert parse_header(bytes.fromhex("bc8a01000000")) == (0x0ABC, True, 1, 0)


def test_a_payload_beyond_24_bits_has_no_header() -> None:
    assert Frame(0, False, 0, bytes(MAX_PAYLOAD)).header()[3:] == b"\xff\xff\xff"
    with pytest.raises(EncodeError):
        Frame(0, False, 0, bytes(MAX_PAYLOAD + 1)).header()


def test_a_header_of_another_length_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        parse_header(bytes(5))
    with pytest.raises(MalformedMessage):
        frame_from(bytes(5), b"")
    with pytest.raises(MalformedMessage):
        frame_from(bytes(6), b"x")


def test_a_forwarded_frame_changes_its_channel_only() -> None:
    frame = Frame(0x4001, True, 9, b"\x01\x00\x00\x00rest")
    assert frame.channel_id == 1
    assert frame.on_channel(0x01020304) == Frame(0x4001, True, 9, b"\x04\x03\x02\x01rest")


@pytest.mark.parametrize("frame", [Frame(0, False, 0x18, bytes(8)), Frame(0, True, 0x18, bytes(3))])
def test_a_frame_without_channel_names_none(frame: Frame) -> None:
    with pytest.raises(MalformedMessage):
        frame.on_channel(1)
    with pytest.raises(MalformedMessage):
        _ = frame.channel_id


@pytest.mark.parametrize("vector", vectors("tlv"), ids=lambda v: v["form"])
def test_a_worker_identity_is_read_in_either_byte_order(vector: dict[str, Any]) -> None:
    expected = Tlv(vector["extension_type"], vector["field_type"], vector["value_text"].encode())
    assert parse_tlvs(bytes.fromhex(vector["encoded"]), known={2}) == (expected,)
    assert parse_tlvs(bytes.fromhex(vector["encoded"])) == (expected,)


def test_tlvs_are_written_little_endian_in_order() -> None:
    (vector,) = [v for v in vectors("tlv") if v["form"] == "little-endian"]
    worker = Tlv(2, 1, b"Worker_001")
    key = Tlv(0x4548, 1, b"k")
    assert encode_tlvs([key, worker]).hex() == vector["encoded"] + "4845010100" + b"k".hex()


def test_an_empty_value_is_read_by_the_extension_that_is_known() -> None:
    assert parse_tlvs(bytes.fromhex("0002010000"), known={0x0002}) == (Tlv(2, 1, b""),)
    assert parse_tlvs(bytes.fromhex("0002010000"), known={0x0200}) == (Tlv(0x200, 1, b""),)
    assert parse_tlvs(bytes.fromhex("0002010000")) == (Tlv(0x200, 1, b""),)
    assert parse_tlvs(b"") == ()


@pytest.mark.parametrize(
    "data", [b"\x02", b"\x02\x00\x01\x02\x00x", b"\x02\x00\x01\x00\x00" * (MAX_TLVS + 1)]
)
def test_bytes_that_fit_no_tlv_or_too_many_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedTlv):
        parse_tlvs(data, known={2})


@pytest.mark.parametrize("tlv", [Tlv(1 << 16, 1, b""), Tlv(1, 256, b""), Tlv(1, 1, bytes(1 << 16))])
def test_a_tlv_that_does_not_fit_is_not_sent(tlv: Tlv) -> None:
    with pytest.raises(EncodeError):
        encode_tlvs([tlv])


def test_a_field_is_found_once_or_not_at_all() -> None:
    tlvs = (Tlv(2, 1, b"a"), Tlv(0x4548, 1, b"b"))
    assert find_tlv(tlvs, 0x4548, 1) == b"b"
    assert find_tlv(tlvs, 0x4548, 2) is None
    with pytest.raises(MalformedTlv, match="2 times"):
        find_tlv(tlvs * 2, 2, 1)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(Tlv, st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(max_size=40)), max_size=MAX_TLVS
    )
)
def test_tlvs_survive_the_round_trip(tlvs: list[Tlv]) -> None:
    known = {tlv.extension for tlv in tlvs}
    assert sorted(parse_tlvs(encode_tlvs(tlvs), known)) == sorted(tlvs)


def test_a_frame_is_refused_by_the_size_its_header_announces() -> None:
    limits = FrameLimits(MINING, {OpenExtendedMiningChannel: 300})
    limits(Frame(0, False, 0x13, bytes(300)).header())
    with pytest.raises(OversizedFrame):
        limits(Frame(0, False, 0x13, bytes(301)).header())
    limits(Frame(0, True, 0x1A, bytes(24)).header())
    with pytest.raises(OversizedFrame):
        limits(Frame(0, True, 0x1A, bytes(2000)).header())


def test_a_frame_of_unknown_type_may_be_small_only() -> None:
    limits = FrameLimits(MINING)
    limits(Frame(0x7FFF, False, 0xEE, bytes(4096)).header())
    with pytest.raises(OversizedFrame):
        limits(Frame(0x7FFF, False, 0xEE, bytes(4097)).header())


def test_transactions_of_a_block_may_fill_a_frame() -> None:
    limits = FrameLimits(TEMPLATE_DISTRIBUTION)
    limits(b"\x00\x00" + bytes([RequestTransactionDataSuccess.msg_type]) + b"\xff\xff\xff")
