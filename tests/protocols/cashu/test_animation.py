"""The examples of BCR-2020-005 and BCR-2020-012, and readers' way back."""

from zlib import crc32

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.cashu.animation import bytewords, parts

MESSAGE = bytes.fromhex(
    "916ec65cf77cadf55cd7f9cda1a1030026ddd42e905b77adc36e4f2d3ccba44f7f04f2de44f42d84c374a0e149136f25"
    "b01852545961d55f7f7a8cde6d0e2ec43f3b2dcb644a2209e8c9e34af5c4747984a5e873c9cf5f965e25ee29039fdf8c"
    "a74f1c769fc07eb7ebaec46e0695aea6cbd60b3ec4bbff1b9ffe8a9e7240129377b9d3711ed38d412fbb4442256f1e6f"
    "595e0fc57fed451fb0a0101fb76b1fb1e1b88cfdfdaa946294a47de8fff173f021c0e6f65b05c0a494e50791270a0050"
    "a73ae69b6725505a2ec8a5791457c9876dd34aadd192a53aa0dc66b556c0c215c7ceb8248b717c22951e65305b56a370"
    "6e3e86eb01c803bbf915d80edcd64d4d"
)
SINGLE = (
    "ur:bytes/hdeymejtswhhylkepmykhhtsytsnoyoyaxaedsuttydmmhhpktpmsrjtgwdpfnsboxgwlbaawzuefywkdplrsrjynbvygabw"
    "jldapfcsdwkbrkch"
)
FIRST = (
    "ur:bytes/1-9/"
    "lpadascfadaxcywenbpljkhdcahkadaemejtswhhylkepmykhhtsytsnoyoyaxaedsuttydmmhhpktpmsrjtdkgslpgh"
)
LAST = (
    "ur:bytes/9-9/"
    "lpasascfadaxcywenbpljkhdcajskecpmdckihdyhphfotjojtfmlnwmadspaxrkytbztpbauotbgtgtaeaevtgavtny"
)


def test_bytes_are_written_as_the_example_has_it() -> None:
    assert bytewords(bytes([0, 1, 2, 128, 255])) == "aeadaolazmjendeoti"


def test_what_fits_is_one_part() -> None:
    assert parts(MESSAGE[:50], 100) == [SINGLE.upper()]


def test_what_does_not_fit_is_in_parts_of_one_size() -> None:
    made = parts(MESSAGE, 30)
    assert (len(made), made[0], made[-1]) == (9, FIRST.upper(), LAST.upper())


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=2000), st.integers(10, 300))
def test_the_parts_put_together_are_the_message(data: bytes, size: int) -> None:
    values = {bytewords(bytes([byte]))[:2]: byte for byte in range(256)}

    def read(text: str) -> bytes:
        letters = text.rsplit("/", 1)[1].lower()
        raw = bytes(values[letters[at : at + 2]] for at in range(0, len(letters), 2))
        assert crc32(raw[:-4]) == int.from_bytes(raw[-4:], "big")
        return raw[:-4]

    made = parts(data, size)
    if len(made) == 1:
        assert cbor2.loads(read(made[0])) == data
        return
    read_parts = [cbor2.loads(read(text)) for text in made]
    assert [part[0] for part in read_parts] == list(range(1, len(made) + 1))
    ((length, checksum),) = {(part[2], part[3]) for part in read_parts}
    message = b"".join(part[4] for part in read_parts)[:length]
    assert crc32(message) == checksum
    assert cbor2.loads(message) == data
    assert all(len(part[4]) <= size for part in read_parts)
