"""Output descriptors that name exactly one script, with their checksum (BIP380 to BIP386).

addr(ADDRESS), raw(HEX), pkh(KEY), wpkh(KEY), sh(wpkh(KEY)), tr(KEY); a key is hex, or an extended public key
with an unhardened path, each behind an optional [origin]. Error texts do not repeat the descriptor, which may
hold what should not be seen.
"""

import re

from protocols.bitcoin.address import script_from_address
from protocols.bitcoin.bip32 import ExtendedPublic
from protocols.bitcoin.errors import BitcoinError, DescriptorError
from protocols.bitcoin.hashing import hash160
from protocols.bitcoin.networks import Network
from protocols.bitcoin.script import (
    pay_to_public_key_hash,
    pay_to_script_hash,
    pay_to_taproot,
    pay_to_witness_key_hash,
)
from protocols.bitcoin.secp256k1 import POINT_SIZE, XONLY_SIZE, parse_point

MAX_TEXT = 2_000
CHECKSUM_SIZE = 8

_INPUT_ALPHABET = (
    "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
)
_CHECKSUM_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)

_CALL = re.compile(r"(sh\(wpkh|[a-z]+)\(([^()]*)\)+")
_ORIGIN = re.compile(r"\[[0-9a-fA-F]{8}(/[0-9]+['h]?)*\]")
_HEX = re.compile(r"([0-9a-fA-F]{2})*")
_SECRET_KEY = re.compile(r"[xt]prv|[5KLc9][1-9A-HJ-NP-Za-km-z]{50,51}$")


def _polymod(symbols: list[int]) -> int:
    check = 1
    for symbol in symbols:
        top = check >> 35
        check = (check & 0x7FFFFFFFF) << 5 ^ symbol
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def checksum(text: str) -> str:
    """The eight characters after the # of a descriptor; raises DescriptorError for foreign characters."""
    values = [_INPUT_ALPHABET.find(character) for character in text]
    if -1 in values:
        raise DescriptorError("a character does not belong into a descriptor")
    symbols = []
    for start in range(0, len(values), 3):
        group = values[start : start + 3]
        symbols += [value & 31 for value in group]
        high = 0
        for value in group:
            high = high * 3 + (value >> 5)
        symbols.append(high)
    check = _polymod(symbols + [0] * CHECKSUM_SIZE) ^ 1
    return "".join(
        _CHECKSUM_ALPHABET[check >> 5 * (CHECKSUM_SIZE - 1 - i) & 31] for i in range(CHECKSUM_SIZE)
    )


def script_from_descriptor(text: str, network: Network) -> bytes:
    """The output script of a descriptor; its checksum is verified when it has one. Raises DescriptorError."""
    if len(text) > MAX_TEXT:
        raise DescriptorError(f"a descriptor of {len(text)} characters, at most {MAX_TEXT} are read")
    body, separator, given = text.partition("#")
    if separator and checksum(body) != given:
        raise DescriptorError("the checksum of the descriptor fails")
    call = _CALL.fullmatch(body)
    if not call or body.count("(") != body.count(")"):
        raise DescriptorError(
            "not one of addr(…), raw(…), pkh(…), wpkh(…), sh(wpkh(…)) and tr(…) with a single public key"
        )
    function, argument = call.groups()
    try:
        return _script(function, argument, network)
    except DescriptorError:
        raise
    except BitcoinError as error:
        raise DescriptorError(f"the argument of {function} is wrong: {error}") from error


def script_from_text(text: str, network: Network) -> bytes:
    """The output script that an operator names by address or by descriptor; raises TextError."""
    if "(" in text:
        return script_from_descriptor(text, network)
    return script_from_address(text, network)


def _script(function: str, argument: str, network: Network) -> bytes:
    match function:
        case "addr":
            return script_from_address(argument, network)
        case "raw":
            return _hex(argument)
        case "pkh":
            return pay_to_public_key_hash(hash160(_key(argument, network)))
        case "wpkh":
            return pay_to_witness_key_hash(_key(argument, network))
        case "sh(wpkh":
            return pay_to_script_hash(hash160(pay_to_witness_key_hash(_key(argument, network))))
        case "tr":
            return pay_to_taproot(_key(argument, network, xonly=True))
        case _:
            raise DescriptorError(f"{function}(…) is not a descriptor that pays one public key")


def _hex(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise DescriptorError("not hex")
    return bytes.fromhex(text)


def _key(text: str, network: Network, *, xonly: bool = False) -> bytes:
    expression = _ORIGIN.sub("", text, count=1) if text.startswith("[") else text
    if _SECRET_KEY.match(expression):
        raise DescriptorError("the descriptor holds a secret key; give the public one")
    if "*" in expression or "<" in expression:
        raise DescriptorError("the descriptor names many scripts; write one number for * or <…>")
    if expression[1:4] == "pub":
        head, _, path = expression.partition("/")
        return ExtendedPublic.decode(head, network).derive(path).point
    key = _hex(expression)
    if xonly and len(key) == XONLY_SIZE:
        return key
    if len(key) != POINT_SIZE:
        raise DescriptorError(
            f"a public key has 33 bytes{' or, in tr, 32' if xonly else ''}, this one {len(key)}"
        )
    return parse_point(key)
