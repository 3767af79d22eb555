"""The algorithms of the native kernel against their standards, and against hashlib and cryptography."""

import hashlib
import os
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native_kernel import native_kernel

KEY = bytes(range(32))


def native(kind: str, *arguments: object) -> bytes:
    native_kernel()
    import hashpool_kernel

    result = getattr(hashpool_kernel, kind)(*arguments)
    assert isinstance(result, bytes)
    return result


def engines(kind: str) -> list[str]:
    """What this processor can run: the plain engine and the best one."""
    native_kernel()
    import hashpool_kernel

    plain, best = {
        "sha256": ("portable", hashpool_kernel.SHA256),
        "chacha20": ("narrow", hashpool_kernel.CHACHA20),
    }[kind]
    return sorted({plain, best})


def test_sha256_of_every_length_around_its_block_boundaries() -> None:
    data = bytes(index * 7 & 0xFF for index in range(700))
    for engine in engines("sha256"):
        for size in [*range(261), 319, 320, 321, 511, 512, 513, 700]:
            assert native("sha256", engine, data[:size]) == hashlib.sha256(data[:size]).digest(), (
                engine,
                size,
            )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_sha256_does_not_depend_on_how_its_input_is_cut(pieces: list[bytes]) -> None:
    for engine in engines("sha256"):
        assert native("sha256", engine, *pieces) == hashlib.sha256(b"".join(pieces)).digest()


def test_nothing_of_a_secret_that_was_hashed_stays_on_the_stack() -> None:
    lines = Path("/proc/self/maps").read_text().splitlines()
    start, end = (
        int(number, 16) for line in lines if "[stack]" in line for number in line.split()[0].split("-")
    )
    stack = bytearray(end - start)
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    for engine in engines("sha256"):
        for size in (32, 40, 60, 100):
            secret = os.urandom(size)
            native("sha256", engine, secret)
            os.preadv(memory, [stack], start)
            # As it is, and as the words of a schedule are in memory.
            swapped = struct.pack(f"<{size // 4}I", *struct.unpack(f">{size // 4}I", secret))
            for text in (secret, swapped):
                pieces = [text[at : at + 8] for at in range(0, size - 7, 8)]
                assert not [piece for piece in pieces if piece in stack], (engine, size)
    os.close(memory)


def test_chacha20_gives_the_block_of_rfc_8439_section_2_3_2() -> None:
    place = bytes.fromhex("01000000 000000090000004a00000000")
    block = bytes.fromhex(
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )
    for engine in engines("chacha20"):
        assert native("chacha20", engine, KEY, place)[:64] == block


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=12, max_size=12), st.integers(0, 0xFFFFFFFB))
def test_chacha20_agrees_with_openssl_by_every_engine(key: bytes, nonce: bytes, counter: int) -> None:
    place = counter.to_bytes(4, "little") + nonce
    expected = Cipher(algorithms.ChaCha20(key, place), mode=None).encryptor().update(bytes(256))
    for engine in engines("chacha20"):
        assert native("chacha20", engine, key, place) == expected


def poly1305(key: bytes, data: bytes) -> bytes:
    """RFC 8439 section 2.5 in whole numbers."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(data), 16):
        block = int.from_bytes(data[start : start + 16] + b"\x01", "little")
        total = (total + block) * r % ((1 << 130) - 5)
    return (total + int.from_bytes(key[16:], "little") & (1 << 128) - 1).to_bytes(16, "little")


def number(value: int, size: int = 16) -> bytes:
    return value.to_bytes(size, "little")


FF = b"\xff" * 16
WIDE = number(1, 8) + number(4, 8)
EDGES = [
    (number(2) + bytes(16), FF, number(3)),
    (number(2) + FF, number(2), number(3)),
    (number(1) + bytes(16), FF + b"\xf0" + FF[1:] + number(0x11), number(5)),
    (number(1) + bytes(16), FF + b"\xfb" + b"\xfe" * 15 + b"\x01" * 16, bytes(16)),
    (number(2) + bytes(16), b"\xfd" + FF[1:], b"\xfa" + FF[1:]),
    (
        WIDE + bytes(16),
        bytes.fromhex("e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000")
        + bytes(16)
        + number(1),
        number(0x14, 8) + number(0x55, 8),
    ),
    (
        WIDE + bytes(16),
        bytes.fromhex("e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000") + bytes(16),
        number(0x13),
    ),
]
"""RFC 8439 appendix A.3, vectors 7 to 13: where carries and the last reduction go wrong."""


@pytest.mark.parametrize(("key", "data", "tag"), EDGES)
def test_poly1305_carries_and_reduces_as_in_appendix_a_3(key: bytes, data: bytes, tag: bytes) -> None:
    assert poly1305(key, data) == tag
    assert native("poly1305", key, data) == tag


def test_poly1305_gives_the_tag_of_rfc_8439_section_2_5_2() -> None:
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    tag = bytes.fromhex("a8061dc1305136c6c22b8baf0c0127a9")
    assert native("poly1305", key, b"Cryptographic Forum Research Group") == tag


HEAVY = st.lists(st.sampled_from([0, 1, 0xFA, 0xFB, 0xFC, 0xFE, 0xFF]), max_size=80).map(bytes)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=32, max_size=32) | st.just(b"\xff" * 32), st.binary(max_size=80) | HEAVY)
def test_poly1305_agrees_with_whole_numbers_and_with_openssl(key: bytes, data: bytes) -> None:
    tag = native("poly1305", key, data)
    assert tag == poly1305(key, data)
    assert tag == Poly1305.generate_tag(key, data)


def test_both_together_give_the_sealed_text_of_rfc_8439_section_2_8_2() -> None:
    plain = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    associated = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    place = bytes(4) + bytes.fromhex("070000004041424344454647")
    for engine in engines("chacha20"):
        stream = native("chacha20", engine, bytes(range(0x80, 0xA0)), place)
        sealed = bytes(a ^ b for a, b in zip(plain, stream[64:], strict=False))
        padded = associated + bytes(4) + sealed + bytes(-len(sealed) % 16)
        tag = native("poly1305", stream[:32], padded + number(12, 8) + number(len(sealed), 8))
        assert sealed.startswith(bytes.fromhex("d31a8d34648e60db7b86afbc53ef7ec2"))
        assert sealed.endswith(bytes.fromhex("6116"))
        assert tag == bytes.fromhex("1ae10b594f09e26a7e902ecbd0600691")


def test_an_engine_that_is_not_here_is_refused() -> None:
    for kind, arguments in {"sha256": (b"",), "chacha20": (KEY, bytes(16))}.items():
        with pytest.raises(ValueError, match="no engine abacus"):
            native(kind, "abacus", *arguments)
