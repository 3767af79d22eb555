"""The encrypted stream: any pieces, any sizes, any damage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.noise.errors import FrameForged, NonceExhausted
from protocols.noise.handshake import Session
from protocols.noise.transport import CHUNK_SIZE, LAST_NONCE, Transport

A, B = b"a" * 32, b"b" * 32
SIZES = [0, 1, 24, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, 2 * CHUNK_SIZE + 5]


class Refused(Exception):
    pass


def pair(limit: int = 1 << 24) -> tuple[Transport, Transport]:
    def check(header: bytes) -> None:
        if int.from_bytes(header[3:], "little") > limit:
            raise Refused

    return Transport(Session(b"", None, A, B), check), Transport(Session(b"", None, B, A), check)


def header(size: int) -> bytes:
    return b"\x00\x80\x1b" + size.to_bytes(3, "little")


@pytest.mark.parametrize("size", SIZES)
def test_a_payload_of_any_size_arrives_and_its_sealed_length_is_the_formula(size: int) -> None:
    sender, receiver = pair()
    payload = bytes(size)
    sealed = sender.send(header(size), payload)
    rest = size % CHUNK_SIZE
    assert len(sealed) == 22 + size // CHUNK_SIZE * 65535 + (rest + 16 if rest else 0)
    assert receiver.receive(sealed) == [(header(size), payload)]
    assert sender.receive(receiver.send(header(2), b"ok")) == [(header(2), b"ok")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 24, 57, 4000, 66_000]), max_size=6), st.data())
def test_frames_arrive_whole_and_in_order_however_the_stream_is_cut(
    sizes: list[int], data: st.DataObject
) -> None:
    sender, receiver = pair()
    frames = [(header(size), bytes([number]) * size) for number, size in enumerate(sizes)]
    stream = b"".join(sender.send(*frame) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    arrived = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        arrived += receiver.receive(stream[start:end])
    assert arrived == frames


def test_a_stream_that_drips_byte_by_byte_is_understood() -> None:
    sender, receiver = pair()
    stream = sender.send(header(3), b"abc") + sender.send(header(0), b"")
    arrived = [frame for byte in stream for frame in receiver.receive(bytes([byte]))]
    assert arrived == [(header(3), b"abc"), (header(0), b"")]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 22 + 40 + 16 - 1), st.integers(0, 7))
def test_any_flipped_bit_ends_the_stream(at: int, bit: int) -> None:
    sender, receiver = pair()
    sealed = bytearray(sender.send(header(40), bytes(40)))
    sealed[at] ^= 1 << bit
    with pytest.raises(FrameForged):
        receiver.receive(bytes(sealed))


def test_a_repeated_and_a_skipped_frame_end_the_stream() -> None:
    sender, receiver = pair()
    first, second = sender.send(header(1), b"1"), sender.send(header(1), b"2")
    receiver.receive(first)
    with pytest.raises(FrameForged):
        receiver.receive(first)
    _, other = pair()
    with pytest.raises(FrameForged):
        other.receive(second)


def test_a_truncated_frame_is_waited_for() -> None:
    sender, receiver = pair()
    sealed = sender.send(header(40), bytes(40))
    assert receiver.receive(sealed[:-1]) == []
    assert receiver.receive(sealed[-1:]) == [(header(40), bytes(40))]


def test_an_oversized_frame_is_refused_by_its_header_alone() -> None:
    sender, receiver = pair(limit=100)
    sealed = sender.send(header(101), bytes(101))
    with pytest.raises(Refused):
        receiver.receive(sealed[:22])


def test_no_nonce_is_used_twice_at_the_end_of_the_numbers() -> None:
    sender, receiver = pair()
    sender._send_nonce = receiver._receive_nonce = LAST_NONCE - 2
    sealed = sender.send(header(1), b"x")
    assert receiver.receive(sealed) == [(header(1), b"x")]
    with pytest.raises(NonceExhausted):
        sender.send(header(1), b"x")
    receiver._receive_nonce = LAST_NONCE + 1
    with pytest.raises(NonceExhausted):
        receiver.receive(bytes(22))
