"""What reads transactions, blocks, headers, and the texts of addresses, descriptors and keys."""

from typing import Final

from protocols.bitcoin import base58, bech32
from protocols.bitcoin.address import address_from_script, script_from_address
from protocols.bitcoin.bip32 import ExtendedPublic, ExtendedSecret, parse_path
from protocols.bitcoin.coinbase import add_witness, has_witness, strip_witness
from protocols.bitcoin.descriptor import checksum, script_from_descriptor, script_from_text
from protocols.bitcoin.encoding import ByteReader, compact_size
from protocols.bitcoin.errors import (
    AddressError,
    Base58Error,
    Bech32Error,
    CoinbaseError,
    DerivationError,
    DescriptorError,
    EncodingError,
    PointError,
    TargetError,
    TextError,
)
from protocols.bitcoin.header import Header, parse_block, serialize_block
from protocols.bitcoin.networks import Network
from protocols.bitcoin.script import legacy_sigops, pay_to_taproot, witness_program
from protocols.bitcoin.secp256k1 import is_point, public_key, xonly
from protocols.bitcoin.target import from_bits, to_bits
from protocols.bitcoin.transaction import Transaction, TxIn, TxOut
from tests.fuzz.campaign import Parser
from tests.fuzz.mutation import Mutator

KEY: Final = public_key(b"\x11" * 32)
NULL: Final = TxIn(bytes(32), 0xFFFFFFFF, b"\x51\x51/tag/", 0xFFFFFFFE)
COINBASE: Final = Transaction(
    2,
    (NULL,),
    (TxOut(5_000_000_000, witness_program(0, bytes(20))), TxOut(0, b"\x6a\x24\xaa\x21\xa9\xed" + bytes(32))),
    ((bytes(32),),),
    7,
)
PAYMENT: Final = Transaction(
    1,
    tuple(TxIn(bytes((number,)) * 32, number, b"\x48" + bytes(72)) for number in range(3)),
    (TxOut(1, b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"), TxOut(2, b"\xae" * 300)),
    ((b"", b"\x30" * 72), (), (b"\x02" * 33,)),
)
PLAIN: Final = Transaction(1, PAYMENT.inputs[:1], PAYMENT.outputs[:1])
TRANSACTIONS: Final = tuple(each.serialize() for each in (COINBASE, PAYMENT, PLAIN))
HEADER: Final = Header(0x20000000, b"\x01" * 32, b"\x02" * 32, 1_700_000_000, 0x207FFFFF, 7)
BLOCKS: Final = (
    serialize_block(HEADER.pack(), TRANSACTIONS[0], []),
    serialize_block(HEADER.pack(), TRANSACTIONS[0], TRANSACTIONS[1:]),
)
NUMBERS: Final = (
    b"\xfd",
    b"\xfe",
    b"\xff",
    b"\xfd\xfc\0",
    b"\xff" * 9,
    b"\xfe\xff\xff\xff\x7f",
    b"\0\1",
    b"\0\0",
)


def read_transaction(data: bytes) -> None:
    transaction = Transaction.parse(data)
    assert transaction.serialize() == data
    assert len(data) <= transaction.weight <= 4 * len(data)
    assert (transaction.txid == transaction.wtxid) == (not any(transaction.witnesses))
    assert transaction.legacy_sigops >= 0


def read_block(data: bytes) -> None:
    header, transactions = parse_block(data)
    if transactions:
        coinbase, *others = (each.serialize() for each in transactions)
        assert serialize_block(header.pack(), coinbase, others) == data


def read_header(data: bytes) -> None:
    header = Header.parse(data)
    assert header.pack() == data
    target = from_bits(header.bits)
    assert from_bits(to_bits(target)) == target


def read_numbers(data: bytes) -> None:
    """CompactSizes one behind the other; each has one form."""
    reader = ByteReader(data)
    while reader.remaining:
        start = reader.offset
        assert compact_size(reader.compact_size()) == data[start : reader.offset]


PREFIX, SUFFIX = TRANSACTIONS[0][:60], TRANSACTIONS[0][60:]
PARTS: Final = (
    PREFIX + b"|" + SUFFIX,
    COINBASE.stripped[:58] + b"|" + COINBASE.stripped[58:],
)


def read_coinbase(data: bytes) -> None:
    first, _, second = data.partition(b"|")
    stripped = strip_witness(first, second)
    if has_witness(first):
        assert not has_witness(stripped[0]) or stripped[0][4:5] == b"\0"
    complete = add_witness(*stripped)
    assert has_witness(complete[0])


ADDRESSES: Final = (
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
    "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
    "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6",
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "n",
    "bc1",
)


def make_address(mutator: Mutator) -> str:
    """Damaged as text, or below its checksum."""
    match mutator.below(4):
        case 0:
            return base58.encode_check(mutator.damage([b"\0" + bytes(20), b"\x05" + bytes(20)])[:60])
        case 1:
            version, size = mutator.below(17), 20 if mutator.happens(1 / 2) else 2 + mutator.below(39)
            try:
                return bech32.encode_segwit(mutator.pick(("bc", "tb", "bcrt")), version, mutator.noise(size))
            except Bech32Error:
                return ""
        case _:
            return mutator.text(ADDRESSES)


def read_address(text: str) -> None:
    found = []
    for network in Network:
        try:
            script = script_from_address(text, network)
        except AddressError:
            continue
        again = address_from_script(script, network)
        assert again in {text, text.lower()}
        assert text.isascii()
        found.append(script)
    if not found:
        raise AddressError("of no network")
    assert len(set(found)) == 1


XPUB: Final = ExtendedSecret.from_seed(bytes(16)).derive("m/84'/1'/0'").public.encode(Network.MAIN)
XPRV: Final = ExtendedSecret.from_seed(bytes(16)).encode(Network.MAIN)
DESCRIPTORS: Final = tuple(
    text if "#" in text else f"{text}#{checksum(text)}"
    for text in (
        f"addr({ADDRESSES[2]})",
        f"raw({'6a' * 20})",
        f"pkh({KEY.hex()})",
        f"wpkh([deadbeef/84'/0h/0']{XPUB}/0/7)",
        f"sh(wpkh({KEY.hex()}))",
        f"tr({xonly(KEY).hex()})",
        f"tr({XPUB}/1)",
        f"wpkh({XPUB}/0/*)",
    )
)
PIECES: Final = (
    "(",
    ")",
    "#",
    "/",
    "[",
    "]",
    "'",
    "*",
    "sh(wpkh(",
    "raw()",
    "/2147483648",
    "/0" * 300,
    XPUB,
    XPRV,
)


def make_descriptor(mutator: Mutator) -> str:
    """Damaged with its checksum, or before a right one is put behind it."""
    if mutator.happens(1 / 2):
        return mutator.text(DESCRIPTORS, PIECES)
    body = mutator.text([text.partition("#")[0] for text in DESCRIPTORS], PIECES)
    try:
        return f"{body}#{checksum(body)}"
    except DescriptorError:
        return body


def read_descriptor(text: str) -> None:
    script = script_from_descriptor(text, Network.MAIN)
    assert script_from_text(text, Network.MAIN) == script
    legacy_sigops(script)


PAYLOADS: Final = (b"", bytes(21), b"\x80" + b"\x11" * 32, b"\0\0\0" + b"\xff" * 30)


def make_base58(mutator: Mutator) -> str:
    if mutator.happens(1 / 2):
        return mutator.text([base58.encode_check(payload) for payload in PAYLOADS], ("1", "0", "l"))
    return base58.encode_check(mutator.damage(PAYLOADS)[:200])


def read_base58(text: str) -> None:
    assert base58.encode(base58.decode(text)) == text
    assert base58.encode_check(base58.decode_check(text)) == text


KEYS: Final = (XPUB, XPRV)
KEY_PAYLOADS: Final = tuple(base58.decode_check(text) for text in KEYS)


def make_extended_key(mutator: Mutator) -> str:
    if mutator.happens(1 / 4):
        return mutator.text(KEYS)
    return base58.encode_check(mutator.damage(KEY_PAYLOADS)[:150])


def read_extended_key(text: str) -> None:
    try:
        public = ExtendedPublic.decode(text, Network.MAIN)
        assert public.encode(Network.MAIN) == text
        public.child(1)
    except DerivationError:
        secret = ExtendedSecret.decode(text, Network.MAIN)
        assert secret.encode(Network.MAIN) == text


def read_path(text: str) -> None:
    assert all(0 <= number < 1 << 32 for number in parse_path(text))


def read_point(data: bytes) -> None:
    """Points of every length; what is said to be one can be used."""
    if is_point(data):
        xonly(data)
    pay_to_taproot(data)


PARSERS: Final = (
    Parser(
        "transactions",
        lambda mutator: mutator.damage(TRANSACTIONS, NUMBERS),
        read_transaction,
        (EncodingError,),
    ),
    Parser("blocks", lambda mutator: mutator.damage(BLOCKS, NUMBERS), read_block, (EncodingError,)),
    Parser(
        "headers", lambda mutator: mutator.damage([HEADER.pack()]), read_header, (EncodingError, TargetError)
    ),
    Parser("compact-sizes", lambda mutator: mutator.damage(NUMBERS, NUMBERS), read_numbers, (EncodingError,)),
    Parser("coinbases", lambda mutator: mutator.damage(PARTS), read_coinbase, (CoinbaseError,)),
    Parser("addresses", make_address, read_address, (AddressError,)),
    Parser("descriptors", make_descriptor, read_descriptor, (TextError,)),
    Parser("base58", make_base58, read_base58, (Base58Error,)),
    Parser("extended-keys", make_extended_key, read_extended_key, (DerivationError,)),
    Parser(
        "derivation-paths",
        lambda mutator: mutator.text(["m/84'/0h/0'/0/7", "0/1"]),
        read_path,
        (DerivationError,),
    ),
    Parser("points", lambda mutator: mutator.damage([KEY, xonly(KEY)]), read_point, (PointError,)),
)
