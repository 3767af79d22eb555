"""Output scripts: the standard forms, data pushes and the count of signature operations."""

from protocols.bitcoin.errors import CurveError, EncodingError, PointError
from protocols.bitcoin.hashing import hash160, tagged_hash
from protocols.bitcoin.secp256k1 import POINT_SIZE, XONLY_SIZE, add, parse_point, public_key

OP_0 = 0x00
OP_PUSHDATA1 = 0x4C
OP_PUSHDATA2 = 0x4D
OP_PUSHDATA4 = 0x4E
OP_1NEGATE = 0x4F
OP_1 = 0x51
OP_RETURN = 0x6A
OP_DUP = 0x76
OP_EQUAL = 0x87
OP_EQUALVERIFY = 0x88
OP_HASH160 = 0xA9
OP_CHECKSIG = 0xAC
OP_CHECKSIGVERIFY = 0xAD
OP_CHECKMULTISIG = 0xAE
OP_CHECKMULTISIGVERIFY = 0xAF

MULTISIG_SIGOPS = 20
_PUSH_LENGTH_SIZES = {OP_PUSHDATA1: 1, OP_PUSHDATA2: 2, OP_PUSHDATA4: 4}


def push(data: bytes) -> bytes:
    """The opcode that pushes so many bytes, and `data`, up to 65,535 bytes; raises EncodingError for more."""
    size = len(data)
    if size < OP_PUSHDATA1:
        return bytes((size,)) + data
    if size <= 0xFF:
        return bytes((OP_PUSHDATA1, size)) + data
    if size <= 0xFFFF:
        return bytes((OP_PUSHDATA2,)) + size.to_bytes(2, "little") + data
    raise EncodingError(f"{size} bytes are too many to push")


def push_number(value: int) -> bytes:
    """The push of a non-negative script number: OP_0 to OP_16, above that its minimal signed bytes."""
    if value < 0:
        raise EncodingError("negative numbers are not pushed here")
    if value <= 16:
        return bytes((OP_0 if value == 0 else OP_1 + value - 1,))
    return push(value.to_bytes(value.bit_length() // 8 + 1, "little"))


def pay_to_public_key_hash(key_hash: bytes) -> bytes:
    """P2PKH script of a 20-byte key hash."""
    return bytes((OP_DUP, OP_HASH160)) + push(key_hash) + bytes((OP_EQUALVERIFY, OP_CHECKSIG))


def pay_to_script_hash(script_hash: bytes) -> bytes:
    """P2SH script of a 20-byte script hash."""
    return bytes((OP_HASH160,)) + push(script_hash) + bytes((OP_EQUAL,))


def witness_program(version: int, program: bytes) -> bytes:
    """Segwit output script: the version (0 to 16) and the program."""
    return push_number(version) + push(program)


def split_witness_program(script: bytes) -> tuple[int, bytes] | None:
    """Version and program of a segwit output script, or None when it is none (BIP141)."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] == OP_0:
        return 0, script[2:]
    return (script[0] - OP_1 + 1, script[2:]) if OP_1 <= script[0] <= OP_1 + 15 else None


def pay_to_witness_key_hash(public: bytes) -> bytes:
    """P2WPKH script of a compressed public key; raises PointError."""
    return witness_program(0, hash160(parse_point(public)))


def taproot_output_key(internal: bytes) -> bytes:
    """BIP86 output key, 32 bytes, of an x-only or compressed key without a script tree; raises PointError."""
    if len(internal) not in {XONLY_SIZE, POINT_SIZE}:
        raise PointError("a taproot key has 32 or 33 bytes")
    point = b"\x02" + internal[-XONLY_SIZE:]
    try:
        return add(point, public_key(tagged_hash("TapTweak", parse_point(point)[1:])))[1:]
    except CurveError as error:
        raise PointError("not a taproot key") from error


def pay_to_taproot(internal: bytes) -> bytes:
    """P2TR script that the internal key alone can spend; raises PointError."""
    return witness_program(1, taproot_output_key(internal))


def legacy_sigops(script: bytes) -> int:
    """Signature operations as consensus counts them without looking at keys; multisig counts 20.

    A push past the end stops the count, as it does in Bitcoin Core, so any bytes have one.
    """
    total = offset = 0
    while offset < len(script):
        opcode = script[offset]
        offset += 1
        if opcode in _PUSH_LENGTH_SIZES:
            end = offset + _PUSH_LENGTH_SIZES[opcode]
            if end > len(script):
                break
            offset = end + int.from_bytes(script[offset:end], "little")
        elif opcode < OP_PUSHDATA1:
            offset += opcode
        elif opcode in {OP_CHECKSIG, OP_CHECKSIGVERIFY}:
            total += 1
        elif opcode in {OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY}:
            total += MULTISIG_SIGOPS
    return total
