"""Coinbase transactions in two parts around an extranonce, as Stratum V2 and V1 hand them to miners.

The scriptSig is the template's prefix (BIP34 height), the pushed tag, the push opcode of the full extranonce,
and the extranonce.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.bitcoin.encoding import compact_size, sized
from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.merkle import WITNESS_RESERVED
from protocols.bitcoin.script import push, push_number
from protocols.bitcoin.transaction import NULL_INDEX, TxOut

MIN_SCRIPT_SIZE = 2
MAX_SCRIPT_SIZE = 100
MAX_EXTRANONCE_SIZE = 32
VERSION = 2
SEQUENCE = 0xFFFFFFFE
"""Not final, so that the locktime binds (BIP54)."""

_SEGWIT_MARKER = b"\x00\x01"
_WITNESS_HEAD = b"\x01\x20"
_WITNESS_SIZE = len(_WITNESS_HEAD) + len(WITNESS_RESERVED)
_NULL_INPUT = bytes(32) + NULL_INDEX.to_bytes(4, "little")


def height_push(height: int) -> bytes:
    """The first bytes of the scriptSig at `height` (BIP34): OP_1 to OP_16, later a minimal push."""
    return push_number(height)


def locktime(height: int) -> int:
    """The locktime of the coinbase at `height` that makes it unique for ever (BIP54): one less."""
    return max(height - 1, 0)


@dataclass(frozen=True, slots=True)
class CoinbaseTemplate:
    """What a template says of its coinbase: the fields of the SV2 message NewTemplate.

    `value` is subsidy and fees in satoshis, `outputs` the serialised last outputs without their count.
    """

    version: int
    script_prefix: bytes
    sequence: int
    value: int
    outputs_count: int
    outputs: bytes
    locktime: int


def coinbase_parts(
    template: CoinbaseTemplate, rewards: Sequence[TxOut], *, tag: bytes, extranonce_size: int
) -> tuple[bytes, bytes]:
    """The bytes before and after the extranonce, without the BIP141 ones.

    `extranonce_size` is the full one, prefix and rollable part. Raises CoinbaseError when the scriptSig would
    leave its 2 to 100 bytes, the extranonce its 32, or the rewards are not exactly the template's value.
    """
    script = template.script_prefix + push(tag) + bytes((extranonce_size,))
    script_size = len(script) + extranonce_size
    if extranonce_size > MAX_EXTRANONCE_SIZE or not MIN_SCRIPT_SIZE <= script_size <= MAX_SCRIPT_SIZE:
        raise CoinbaseError(f"a scriptSig of {script_size} bytes with an extranonce of {extranonce_size}")
    total = sum(output.value for output in rewards)
    if total != template.value:
        raise CoinbaseError(f"the rewards are {total} sat, the template is worth {template.value}")
    prefix = (
        template.version.to_bytes(4, "little") + b"\x01" + _NULL_INPUT + compact_size(script_size) + script
    )
    suffix = b"".join(
        (
            template.sequence.to_bytes(4, "little"),
            compact_size(len(rewards) + template.outputs_count),
            *(output.serialize() for output in rewards),
            template.outputs,
            template.locktime.to_bytes(4, "little"),
        )
    )
    return prefix, suffix


def has_witness(prefix: bytes) -> bool:
    """Whether a coinbase that starts with `prefix` carries the BIP141 marker and flag."""
    return prefix[4:5] == b"\x00" and prefix[5:6] not in {b"", b"\x00"}


def strip_witness(prefix: bytes, suffix: bytes) -> tuple[bytes, bytes]:
    """Both parts without marker, flag and witness, as jobs carry them; stripped parts stay as they are.

    Raises CoinbaseError when marker and flag are there and the suffix holds no single 32-byte witness item.
    """
    if not has_witness(prefix):
        return prefix, suffix
    head = suffix[-4 - _WITNESS_SIZE : -4]
    if len(head) != _WITNESS_SIZE or not head.startswith(_WITNESS_HEAD):
        raise CoinbaseError("the coinbase has marker and flag, but no witness of one 32-byte item")
    return prefix[:4] + prefix[6:], suffix[: -4 - _WITNESS_SIZE] + suffix[-4:]


def add_witness(prefix: bytes, suffix: bytes, reserved: bytes = WITNESS_RESERVED) -> tuple[bytes, bytes]:
    """Both parts with marker, flag and the witness reserved value, as blocks carry them (BIP141).

    Parts that have them come back unchanged; raises CoinbaseError for parts too short to be a coinbase.
    """
    if has_witness(prefix):
        return prefix, suffix
    if len(prefix) < 5 or len(suffix) < 4:
        raise CoinbaseError("too short for the parts of a coinbase")
    witness = b"\x01" + sized(reserved)
    return prefix[:4] + _SEGWIT_MARKER + prefix[4:], suffix[:-4] + witness + suffix[-4:]
