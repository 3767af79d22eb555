"""What reads keys, credits and units of ehash."""

from typing import Final, NamedTuple

from protocols.bitcoin import base58
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.amount import AMOUNT_LIMIT, Valuation
from protocols.ehash.credit import check_credit
from protocols.ehash.errors import CreditRefusal, IdentityRefused, KeyTextError, UnitError
from protocols.ehash.identity import sign_hello, verify_hello
from protocols.ehash.key_text import decode_key, encode_key, find_key_option, parse_identity
from protocols.ehash.messages import CreditRow
from protocols.ehash.shift import Unit, parse_unit
from tests.fuzz.campaign import Parser
from tests.fuzz.mutation import Mutator

SECRET: Final = b"\x11" * 32
KEY: Final = public_key(SECRET)
TEXT: Final = encode_key(KEY)
HEADER: Final = b"\0\0\0\x20" + bytes(68) + b"\xff\xff\x7f\x20" + bytes(4)
EASY: Final = (1 << 256) - 1
HANDSHAKE, AUTHORITY = b"\x41" * 32, b"\x42" * 32
HELLO: Final = b"".join(sign_hello(SECRET, HANDSHAKE, AUTHORITY, bytes(32)))
IDENTITIES: Final = (TEXT, f"{TEXT}.rig", f"k={TEXT}.rig", KEY.hex(), f"k={KEY.hex()}", "bc1qexample.worker")
PASSWORDS: Final = (f"x,d=1024,k={TEXT}", f"k={TEXT};k={KEY.hex()}", "x", "")
UNITS: Final = (Unit(KEY, 0).name, Unit(KEY, (1 << 32) - 1).name)


def make_key_text(mutator: Mutator) -> str:
    if mutator.happens(1 / 2):
        return mutator.text(IDENTITIES, ("k=", ".", TEXT))
    return base58.encode_check(mutator.damage([b"\x48" + KEY])[:100])


def read_key_text(text: str) -> None:
    identity = parse_identity(text)
    if identity.key is not None:
        assert decode_key(encode_key(identity.key)) == identity.key
    else:
        assert identity.worker == text
        decode_key(text)


class Row(NamedTuple):
    """A row of credits with the price that it is offered at."""

    row: CreditRow
    minimum: int
    valuation: Valuation


def make_row(mutator: Mutator) -> Row:
    header = mutator.damage([HEADER])[:80].ljust(80, b"\0")
    target = EASY >> mutator.below(20) if mutator.happens(3 / 4) else mutator.chance.getrandbits(256)
    key = KEY if mutator.happens(3 / 4) else mutator.damage([KEY])[:33].ljust(33, b"\0")
    row = CreditRow(header, target, mutator.below(1 << 64), mutator.below(4), key)
    minimum = mutator.below(4) if mutator.happens(3 / 4) else mutator.below(256)
    return Row(row, minimum, mutator.pick(tuple(Valuation)))


def read_row(offered: Row) -> None:
    credit = check_credit(*offered)
    assert credit.share_hash == sha256d(offered.row.header)
    assert 0 < credit.amount < AMOUNT_LIMIT


def read_hello(hello: bytes) -> None:
    verify_hello(hello[:33], hello[33:97].ljust(64, b"\0"), HANDSHAKE, AUTHORITY)
    assert hello[:97] == HELLO


PARSERS: Final = (
    Parser("ehash-key-text", make_key_text, read_key_text, (KeyTextError,)),
    Parser(
        "ehash-key-option",
        lambda mutator: mutator.text(PASSWORDS, ("k=", ",")),
        find_key_option,
        (KeyTextError,),
    ),
    Parser("ehash-credit-rows", make_row, read_row, (CreditRefusal,)),
    Parser(
        "ehash-units",
        lambda mutator: mutator.text(UNITS),
        lambda text: parse_unit(text).name == text,
        (UnitError,),
    ),
    Parser("ehash-hello", lambda mutator: mutator.damage([HELLO]), read_hello, (IdentityRefused,)),
)
