"""Segwit addresses as text: bech32 (BIP173) for version 0, bech32m (BIP350) for later versions."""

from collections.abc import Iterable

from protocols.bitcoin.errors import Bech32Error

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
MAX_TEXT = 90
CHECKSUM_SIZE = 6

_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32 = 1
_BECH32M = 0x2BC830A3
_VALUE = {character: value for value, character in enumerate(ALPHABET)}


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _expand(prefix: str) -> list[int]:
    return [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]


def _regroup(values: Iterable[int], size: int, new_size: int, *, pad: bool) -> list[int]:
    accumulator = bits = 0
    groups = []
    for value in values:
        accumulator = accumulator << size | value
        bits += size
        while bits >= new_size:
            bits -= new_size
            groups.append(accumulator >> bits & ((1 << new_size) - 1))
        accumulator &= (1 << bits) - 1
    if pad and bits:
        groups.append(accumulator << (new_size - bits))
    elif not pad and (bits >= size or accumulator):
        raise Bech32Error("the padding of the data is not zero bits")
    return groups


def _check_program(version: int, program: bytes) -> None:
    if not 0 <= version <= 16:
        raise Bech32Error(f"witness version {version} is not between 0 and 16")
    if not 2 <= len(program) <= 40 or (version == 0 and len(program) not in {20, 32}):
        raise Bech32Error(f"a witness program of {len(program)} bytes does not exist in version {version}")


def encode_segwit(prefix: str, version: int, program: bytes) -> str:
    """The segwit address of a witness program; raises Bech32Error for a version or length that cannot be."""
    _check_program(version, program)
    data = [version, *_regroup(program, 8, 5, pad=True)]
    constant = _BECH32 if version == 0 else _BECH32M
    check = _polymod([*_expand(prefix), *data, *[0] * CHECKSUM_SIZE]) ^ constant
    data += [check >> 5 * (CHECKSUM_SIZE - 1 - i) & 31 for i in range(CHECKSUM_SIZE)]
    return prefix + "1" + "".join(ALPHABET[value] for value in data)


def _split(text: str) -> tuple[str, list[int], int]:
    if len(text) > MAX_TEXT or (text.lower() != text and text.upper() != text):
        raise Bech32Error("bech32 text is longer than 90 characters or mixes upper and lower case")
    if not text.isascii():
        # The Kelvin sign is a k in lower case.
        raise Bech32Error("a character does not belong into bech32 text")
    prefix, separator, rest = text.lower().rpartition("1")
    if not separator or not prefix or len(rest) < CHECKSUM_SIZE:
        raise Bech32Error("bech32 text needs a prefix, a 1 and six characters of checksum")
    if any(not "!" <= character <= "~" for character in prefix) or any(c not in _VALUE for c in rest):
        raise Bech32Error("a character does not belong into bech32 text")
    values = [_VALUE[character] for character in rest]
    return prefix, values[:-CHECKSUM_SIZE], _polymod([*_expand(prefix), *values])


def decode_segwit(text: str) -> tuple[str, int, bytes]:
    """Human-readable prefix (lower case), witness version and program of `text`; raises Bech32Error."""
    prefix, values, constant = _split(text)
    if not values or constant not in {_BECH32, _BECH32M}:
        raise Bech32Error("the bech32 checksum fails")
    version = values[0]
    if constant != (_BECH32 if version == 0 else _BECH32M):
        raise Bech32Error(f"the checksum is of the wrong kind for witness version {version}")
    program = bytes(_regroup(values[1:], 5, 8, pad=False))
    _check_program(version, program)
    return prefix, version, program
