"""Output scripts as bitcoind shows them: type, address, descriptor and disassembly."""

from protocols.bitcoin.address import address_from_script
from protocols.bitcoin.descriptor import checksum
from protocols.bitcoin.networks import Network
from protocols.bitcoin.script import (
    OP_1,
    OP_1NEGATE,
    OP_CHECKMULTISIG,
    OP_CHECKSIG,
    OP_PUSHDATA4,
    OP_RETURN,
    pay_to_public_key_hash,
    split_witness_program,
)
from roles.regtest_node.jsonrpc import Json
from roles.regtest_node.sigops import OP_16, is_pay_to_script_hash, is_push_only, operations

_ANCHOR = bytes.fromhex("51024e73")
_NAMES = {
    0x61: "OP_NOP", 0x63: "OP_IF", 0x64: "OP_NOTIF", 0x67: "OP_ELSE", 0x68: "OP_ENDIF", 0x69: "OP_VERIFY",
    0x6A: "OP_RETURN", 0x6B: "OP_TOALTSTACK", 0x6C: "OP_FROMALTSTACK", 0x6D: "OP_2DROP", 0x6E: "OP_2DUP",
    0x6F: "OP_3DUP", 0x70: "OP_2OVER", 0x71: "OP_2ROT", 0x72: "OP_2SWAP", 0x73: "OP_IFDUP",
    0x74: "OP_DEPTH", 0x75: "OP_DROP", 0x76: "OP_DUP", 0x77: "OP_NIP", 0x78: "OP_OVER", 0x79: "OP_PICK",
    0x7A: "OP_ROLL", 0x7B: "OP_ROT", 0x7C: "OP_SWAP", 0x7D: "OP_TUCK", 0x82: "OP_SIZE", 0x87: "OP_EQUAL",
    0x88: "OP_EQUALVERIFY", 0x8B: "OP_1ADD", 0x8C: "OP_1SUB", 0x8F: "OP_NEGATE", 0x90: "OP_ABS",
    0x91: "OP_NOT", 0x92: "OP_0NOTEQUAL", 0x93: "OP_ADD", 0x94: "OP_SUB", 0x9A: "OP_BOOLAND",
    0x9B: "OP_BOOLOR", 0x9C: "OP_NUMEQUAL", 0x9D: "OP_NUMEQUALVERIFY", 0x9E: "OP_NUMNOTEQUAL",
    0x9F: "OP_LESSTHAN", 0xA0: "OP_GREATERTHAN", 0xA1: "OP_LESSTHANOREQUAL", 0xA2: "OP_GREATERTHANOREQUAL",
    0xA3: "OP_MIN", 0xA4: "OP_MAX", 0xA5: "OP_WITHIN", 0xA6: "OP_RIPEMD160", 0xA7: "OP_SHA1",
    0xA8: "OP_SHA256", 0xA9: "OP_HASH160", 0xAA: "OP_HASH256", 0xAB: "OP_CODESEPARATOR",
    0xAC: "OP_CHECKSIG", 0xAD: "OP_CHECKSIGVERIFY", 0xAE: "OP_CHECKMULTISIG",
    0xAF: "OP_CHECKMULTISIGVERIFY", 0xB1: "OP_CHECKLOCKTIMEVERIFY", 0xB2: "OP_CHECKSEQUENCEVERIFY",
    0xBA: "OP_CHECKSIGADD",
}  # fmt: skip


def script_json(script: bytes) -> dict[str, Json]:
    """The object under scriptPubKey."""
    address = address_from_script(script, Network.REGTEST)
    descriptor = f"raw({script.hex()})" if address is None else f"addr({address})"
    shown: dict[str, Json] = {
        "asm": disassemble(script),
        "desc": f"{descriptor}#{checksum(descriptor)}",
        "hex": script.hex(),
    }
    if address is not None:
        shown["address"] = address
    return shown | {"type": script_type(script)}


def script_type(script: bytes) -> str:
    """bitcoind's name for the form of an output script."""
    program = split_witness_program(script)
    if program is not None:
        return _witness_type(*program, script)
    if is_pay_to_script_hash(script):
        return "scripthash"
    if len(script) == 25 and script == pay_to_public_key_hash(script[3:23]):
        return "pubkeyhash"
    if script[:1] == bytes((OP_RETURN,)) and is_push_only(script[1:]):
        return "nulldata"
    if script[-1:] == bytes((OP_CHECKSIG,)) and len(script) in {35, 67} and script[0] == len(script) - 2:
        return "pubkey"
    if script[-1:] == bytes((OP_CHECKMULTISIG,)) and OP_1 <= script[0] <= OP_16 and is_push_only(script[:-1]):
        return "multisig"
    return "nonstandard"


def disassemble(script: bytes) -> str:
    """Opcodes by name, pushes as hex, pushes of up to four bytes as the numbers that they are."""
    words = []
    try:
        for opcode, data in operations(script):
            words.append(_word(opcode, data))
    except ValueError:
        words.append("[error]")
    return " ".join(words)


def _word(opcode: int, data: bytes) -> str:
    if opcode <= OP_PUSHDATA4:
        return data.hex() if len(data) > 4 else str(_number(data))
    if opcode == OP_1NEGATE:
        return "-1"
    if OP_1 <= opcode <= OP_16:
        return str(opcode - OP_1 + 1)
    return _NAMES.get(opcode, "OP_UNKNOWN")


def _number(data: bytes) -> int:
    """A script number: little-endian, the top bit is the sign."""
    if not data:
        return 0
    value = int.from_bytes(data, "little")
    sign = 1 << (8 * len(data) - 1)
    return sign - value if value & sign else value


def _witness_type(version: int, program: bytes, script: bytes) -> str:
    if version == 0:
        return {20: "witness_v0_keyhash", 32: "witness_v0_scripthash"}.get(len(program), "nonstandard")
    if script == _ANCHOR:
        return "anchor"
    return "witness_v1_taproot" if version == 1 and len(program) == 32 else "witness_unknown"
