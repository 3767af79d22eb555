"""What only a kernel in C can get wrong: memory, references, and being called from within itself."""

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.secp256k1 import public_key, public_key_whole
from protocols.noise.errors import FrameForged, NonceExhausted
from protocols.noise.frame_cipher import FrameCipher, PythonCipher
from protocols.noise.handshake import Session
from tests.native_kernel import native_cipher, native_kernel, native_signer

A, B = b"a" * 32, b"b" * 32


def accept(_: bytes) -> None:
    pass


def header(size: int) -> bytes:
    return b"\x00\x80\x1b" + size.to_bytes(3, "little")


def receiver(limit: Callable[[bytes], None] = accept) -> FrameCipher:
    return native_cipher(Session(b"", None, B, A), limit)


def sealed(*payloads: bytes) -> bytes:
    sender = PythonCipher(Session(b"", None, A, B), accept)
    return sender.send_many([(header(len(payload)), payload) for payload in payloads])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=100) | st.just(bytes(70_000)), max_size=4),
    st.lists(st.integers(0, 10_000), max_size=6),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=2),
)
def test_it_sees_the_same_in_any_stream_as_python_does(
    payloads: list[bytes], cuts: list[int], damage: list[tuple[int, int]]
) -> None:
    stream = bytearray(sealed(*payloads))
    for at, mask in damage if stream else []:
        stream[at % len(stream)] ^= mask
    ends = sorted(cut % (len(stream) + 1) for cut in cuts)
    pieces = [bytes(stream[start:end]) for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)]
    python = PythonCipher(Session(b"", None, B, A), accept)
    assert outcome(receiver(), pieces) == outcome(python, pieces)


def outcome(cipher: FrameCipher, pieces: list[bytes]) -> list[object]:
    """What each piece completes, up to an error."""
    seen: list[object] = []
    for piece in pieces:
        try:
            seen.append(cipher.receive(piece))
        except FrameForged as error:
            seen.append(type(error))
            break
    return seen


def test_a_broken_stream_stays_broken() -> None:
    cipher = receiver()
    with pytest.raises(FrameForged):
        cipher.receive(bytes(22))
    with pytest.raises(FrameForged):
        cipher.receive(sealed(b"x"))


def test_receive_cannot_be_called_from_within_itself() -> None:
    caught: list[BaseException] = []

    def limit(_: bytes) -> None:
        try:
            cipher.receive(b"more")
        except RuntimeError as error:
            caught.append(error)

    cipher = receiver(limit)
    assert cipher.receive(sealed(b"x")) == [(header(1), b"x")]
    assert len(caught) == 1


def test_sending_from_within_the_limit_is_allowed() -> None:
    sent: list[bytes] = []
    cipher = receiver(lambda head: sent.append(cipher.send(head, b"y")))
    assert cipher.receive(sealed(b"x")) == [(header(1), b"x")]
    other = PythonCipher(Session(b"", None, A, B), accept)
    assert other.receive(sent[0]) == [(header(1), b"y")]


def test_what_the_limit_raises_passes_through_and_ends_the_stream() -> None:
    def limit(_: bytes) -> None:
        raise KeyError("too large")

    cipher = receiver(limit)
    with pytest.raises(KeyError, match="too large"):
        cipher.receive(sealed(b"x"))
    with pytest.raises(FrameForged):
        cipher.receive(b"")


def test_bytes_may_lie_in_any_buffer() -> None:
    cipher: Any = receiver()
    stream = bytearray(sealed(b"abc", b"de"))
    assert cipher.receive(memoryview(stream)[:30]) == []
    assert cipher.receive(stream[30:]) == [(header(3), b"abc"), (header(2), b"de")]


class Owner:
    """A connection, as far as the collector sees one: it has the cipher, whose limit belongs to it."""

    def __init__(self) -> None:
        self.cipher = receiver(self.limit)

    def limit(self, _: bytes) -> None:
        pass


def test_a_cycle_through_the_limit_is_collected() -> None:
    owner = Owner()
    owner.cipher.receive(sealed(b"x")[:20])
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((A, B[1:], accept, FrameForged, NonceExhausted), ValueError),
        ((A + b"a", B, accept, FrameForged, NonceExhausted), ValueError),
        (("a" * 32, B, accept, FrameForged, NonceExhausted), TypeError),
        ((A, B, None, FrameForged, NonceExhausted), TypeError),
        ((A, B, accept, int, NonceExhausted), TypeError),
        ((A, B, accept, FrameForged, ValueError()), TypeError),
        ((A, B, accept), TypeError),
    ],
)
def test_a_stream_is_not_made_of_anything_else(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    native_kernel()
    from hashpool_kernel import Transport

    with pytest.raises(error):
        Transport(*arguments)


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("send", (header(1)[1:], b"x"), ValueError),
        ("send", (header(1), "x"), TypeError),
        ("send", (header(1), bytearray(b"x")), TypeError),
        ("send", (header(1),), TypeError),
        ("send_many", ([(header(1), b"x"), (header(1),)],), TypeError),
        ("send_many", ([(header(1), b"x"), [header(1), b"x"]],), TypeError),
        ("send_many", ([(header(1), b"x"), (b"", b"x")],), ValueError),
        ("send_many", (None,), TypeError),
        ("receive", ("text",), TypeError),
        ("receive", (None,), TypeError),
    ],
)
def test_wrong_arguments_are_refused_and_change_nothing(
    method: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    cipher = receiver()
    with pytest.raises(error):
        getattr(cipher, method)(*arguments)
    other = PythonCipher(Session(b"", None, A, B), accept)
    assert other.receive(cipher.send(header(1), b"x")) == [(header(1), b"x")]
    assert cipher.receive(sealed(b"y")) == [(header(1), b"y")]


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("prove", (b"", 1, 2), TypeError),
        ("prove", ("", 1, 2, 3), TypeError),
        ("prove", (b"", 1.0, 2, 3), TypeError),
        ("prove_root", (bytes(31), 1, 2, 3), ValueError),
        ("prove_root", (bytes(32), 1, 2, 3, 4), TypeError),
        ("root", ("text",), TypeError),
    ],
)
def test_a_prover_refuses_what_is_no_share(
    method: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    native_kernel()
    from hashpool_kernel import Prover

    with pytest.raises(error):
        getattr(Prover(b"", b"", (), bytes(32), 0), method)(*arguments)


SIGNING = (A, public_key_whole(A), public_key(B))
CHECKING = (A, b"secret", public_key(B))


@pytest.mark.parametrize(
    ("method", "jobs", "error"),
    [
        ("sign", None, TypeError),
        ("sign", [list(SIGNING)], TypeError),
        ("sign", [SIGNING[:2]], TypeError),
        ("sign", [(A[1:], *SIGNING[1:])], ValueError),
        ("sign", [(A, public_key(A), SIGNING[2])], ValueError),
        ("sign", [SIGNING, (*SIGNING[:2], b"")], ValueError),
        ("sign", [(bytes(32), *SIGNING[1:])], ValueError),
        ("sign", [(b"\xff" * 32, *SIGNING[1:])], ValueError),
        ("verify", [(A, "secret", CHECKING[2])], TypeError),
        ("verify", [CHECKING, (A, b"secret", b"C")], ValueError),
        ("verify", [(bytes(32), *CHECKING[1:])], ValueError),
        ("verify", 7, TypeError),
    ],
)
def test_a_signer_refuses_what_no_mint_asks(method: str, jobs: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        getattr(native_signer(), method)(jobs)


@pytest.mark.parametrize("addresses", [(), (1,) * 7, (1,) * 9, ("x",) * 8, None])
def test_a_signer_is_made_of_eight_addresses(addresses: Any) -> None:
    native_kernel()
    from hashpool_kernel import Signer

    with pytest.raises(TypeError):
        Signer(addresses)


def exercise() -> None:
    """Every way through the kernel that allocates, and its errors half way."""
    from hashpool_kernel import Prover, Transport

    not_exceptions: Any = (A, B, accept, FrameForged, int)

    prover = Prover(b"p" * 78, b"s" * 110, (b"n" * 32,) * 3, bytes(32), 1)
    prover.prove(b"x" * 20, 1, 2, 3)
    with pytest.raises(OverflowError):
        prover.prove(b"", 1, 2, 1 << 32)
    with pytest.raises(ValueError, match="node"):
        Prover(b"", b"s", (bytes(32), b""), bytes(32), 1)
    cipher = receiver()
    cipher.send_many([(header(1), b"x"), (header(70_000), bytes(70_000))])
    stream = sealed(b"abc", b"", bytes(140_000))
    for start in range(0, len(stream), 30_000):
        cipher.receive(stream[start : start + 30_000])
    receiver().receive(stream[: len(stream) - 1])
    with pytest.raises(FrameForged):
        receiver().receive(stream[:22] + bytes(100_000))
    with pytest.raises(TypeError):
        Transport(*not_exceptions)
    signer = native_signer()
    signer.sign([SIGNING, (*SIGNING[:2], bytes(33))])
    signer.verify([CHECKING])
    for jobs in ([SIGNING, (bytes(32), *SIGNING[1:])], [SIGNING, (A, A, A)]):
        with pytest.raises(ValueError):
            signer.sign(jobs)
    with pytest.raises(ValueError):
        signer.verify([CHECKING, (bytes(32), *CHECKING[1:])])


def test_nothing_is_left_behind() -> None:
    native_kernel()
    for _ in range(3):
        exercise()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(30):
        exercise()
    gc.collect()
    assert sys.getallocatedblocks() - before < 25
