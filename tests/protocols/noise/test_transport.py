"""The encrypted stream, in Python and in the native kernel: any pieces, any sizes, any damage."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.noise.errors import FrameForged, NonceExhausted
from protocols.noise.frame_cipher import CipherMaker, FrameCipher, PythonCipher
from protocols.noise.handshake import Session
from protocols.noise.transport import CHUNK_SIZE, LAST_NONCE
from tests.native_kernel import native_cipher

pytestmark = pytest.mark.parametrize(
    "make", [pytest.param(PythonCipher, id="python"), pytest.param(native_cipher, id="native")]
)

A, B = b"a" * 32, b"b" * 32
SIZES = [0, 1, 24, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, 2 * CHUNK_SIZE + 5]


class Refused(Exception):
    pass


def pair(
    make: CipherMaker, *, limit: int = 1 << 24, peer: CipherMaker | None = None
) -> tuple[FrameCipher, FrameCipher]:
    def check(header: bytes) -> None:
        if int.from_bytes(header[3:], "little") > limit:
            raise Refused

    return make(Session(b"", None, A, B), check), (peer or make)(Session(b"", None, B, A), check)


def header(size: int) -> bytes:
    return b"\x00\x80\x1b" + size.to_bytes(3, "little")


@pytest.mark.parametrize("size", SIZES)
def test_a_payload_of_any_size_arrives_and_its_sealed_length_is_the_formula(
    make: CipherMaker, size: int
) -> None:
    sender, receiver = pair(make)
    payload = bytes(size)
    sealed = sender.send(header(size), payload)
    rest = size % CHUNK_SIZE
    assert len(sealed) == 22 + size // CHUNK_SIZE * 65535 + (rest + 16 if rest else 0)
    assert receiver.receive(sealed) == [(header(size), payload)]
    assert sender.receive(receiver.send(header(2), b"ok")) == [(header(2), b"ok")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 24, 57, 4000, 66_000]), max_size=6), st.data())
def test_frames_arrive_whole_and_in_order_however_the_stream_is_cut(
    make: CipherMaker, sizes: list[int], data: st.DataObject
) -> None:
    sender, receiver = pair(make)
    frames = [(header(size), bytes([number]) * size) for number, size in enumerate(sizes)]
    stream = b"".join(sender.send(*frame) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    arrived = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        arrived += receiver.receive(stream[start:end])
    assert arrived == frames


def test_a_stream_that_drips_byte_by_byte_is_understood(make: CipherMaker) -> None:
    sender, receiver = pair(make)
    stream = sender.send(header(3), b"abc") + sender.send(header(0), b"")
    arrived = [frame for byte in stream for frame in receiver.receive(bytes([byte]))]
    assert arrived == [(header(3), b"abc"), (header(0), b"")]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 22 + 40 + 16 - 1), st.integers(0, 7))
def test_any_flipped_bit_ends_the_stream(make: CipherMaker, at: int, bit: int) -> None:
    sender, receiver = pair(make)
    sealed = bytearray(sender.send(header(40), bytes(40)))
    sealed[at] ^= 1 << bit
    with pytest.raises(FrameForged):
        receiver.receive(bytes(sealed))


def test_a_repeated_and_a_skipped_frame_end_the_stream(make: CipherMaker) -> None:
    sender, receiver = pair(make)
    first, second = sender.send(header(1), b"1"), sender.send(header(1), b"2")
    receiver.receive(first)
    with pytest.raises(FrameForged):
        receiver.receive(first)
    _, other = pair(make)
    with pytest.raises(FrameForged):
        other.receive(second)


def test_no_bytes_are_no_frame(make: CipherMaker) -> None:
    sender, receiver = pair(make)
    for size in (1, 2, 3, 4, 0):
        assert receiver.receive(sender.send(header(size), bytes(size))) == [(header(size), bytes(size))]
        assert receiver.receive(b"") == []


def test_a_truncated_frame_is_waited_for(make: CipherMaker) -> None:
    sender, receiver = pair(make)
    sealed = sender.send(header(40), bytes(40))
    assert receiver.receive(sealed[:-1]) == []
    assert receiver.receive(sealed[-1:]) == [(header(40), bytes(40))]


def test_an_oversized_frame_is_refused_by_its_header_alone(make: CipherMaker) -> None:
    sender, receiver = pair(make, limit=100)
    sealed = sender.send(header(101), bytes(101))
    with pytest.raises(Refused):
        receiver.receive(sealed[:22])


def at_nonce(cipher: Any, nonce: int) -> Any:
    """The same stream, as far on as no test can get it."""
    cipher._send_nonce = cipher._receive_nonce = nonce
    return cipher


def test_no_nonce_is_used_twice_at_the_end_of_the_numbers(make: CipherMaker) -> None:
    sender, receiver = (at_nonce(cipher, LAST_NONCE - 60) for cipher in pair(make))
    assert receiver.receive(sender.send(header(1), b"x")) == [(header(1), b"x")]
    at_nonce(sender, LAST_NONCE - 2).send(header(1), b"x")
    for _ in range(2):
        with pytest.raises(NonceExhausted):
            sender.send(header(1), b"x")
    with pytest.raises(NonceExhausted):
        at_nonce(sender, LAST_NONCE - 4).send_many([(header(1), b"x")] * 3)
    with pytest.raises(NonceExhausted):
        at_nonce(receiver, LAST_NONCE + 1).receive(bytes(22))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300) | st.sampled_from([bytes(CHUNK_SIZE), bytes(66_000)]), max_size=5))
def test_what_one_kernel_seals_the_other_opens(make: CipherMaker, payloads: list[bytes]) -> None:
    frames = [(header(len(payload)), payload) for payload in payloads]
    one, other = pair(make, peer=PythonCipher)
    assert other.receive(one.send_many(frames)) == frames
    assert one.receive(b"".join(other.send(*frame) for frame in frames)) == frames
    assert other.receive(b"".join(one.send(*frame) for frame in frames)) == frames


def test_the_limit_hears_of_every_type_and_of_every_larger_payload(make: CipherMaker) -> None:
    heard: list[bytes] = []
    sender = make(Session(b"", None, A, B), heard.append)
    receiver = make(Session(b"", None, B, A), heard.append)
    share, other = b"\x00\x80\x1b", b"\x00\x00\x1b"
    sizes = [(share, 5), (share, 5), (other, 5), (share, 6), (share, 5), (other, 0), (share, 300)]
    frames = [(kind + size.to_bytes(3, "little"), bytes(size)) for kind, size in sizes]
    assert receiver.receive(sender.send_many(frames)) == frames
    assert {frames[index][0] for index in (0, 2, 3, 6)} <= set(heard)


def test_segments_of_the_usual_size_may_hold_anything(make: CipherMaker) -> None:
    sender, receiver = pair(make)
    usual = (header(40), bytes(40))
    for _ in range(8):
        assert receiver.receive(sender.send(*usual)) == [usual]
    other_type = (b"\x00\x80\x1a" + usual[0][3:], b"\x01" * 40)
    assert receiver.receive(sender.send(*other_type)) == [other_type]
    assert receiver.receive(sender.send(*usual)) == [usual]
    larger = (header(1000), b"\x02" * 1000)
    size = 22 + 40 + 16
    stream = sender.send(*larger) + sender.send(*usual)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [frame for piece in pieces for frame in receiver.receive(piece)] == [larger, usual]


def test_a_flipped_bit_in_a_frame_like_many_before_it_ends_the_stream(make: CipherMaker) -> None:
    for at in (3, 30):
        sender, receiver = pair(make)
        for _ in range(8):
            receiver.receive(sender.send(header(40), bytes(40)))
        sealed = bytearray(sender.send(header(40), bytes(40)))
        sealed[at] ^= 1
        with pytest.raises(FrameForged):
            receiver.receive(bytes(sealed))
