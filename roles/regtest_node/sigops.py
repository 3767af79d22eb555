"""The signature operation cost of a transaction, as a block's limit of 80,000 counts it (BIP141)."""

from collections.abc import Iterator, Sequence

from protocols.bitcoin.script import (
    OP_0,
    OP_1,
    OP_CHECKMULTISIG,
    OP_CHECKMULTISIGVERIFY,
    OP_CHECKSIG,
    OP_CHECKSIGVERIFY,
    OP_PUSHDATA1,
    OP_PUSHDATA2,
    OP_PUSHDATA4,
    pay_to_script_hash,
    split_witness_program,
)
from protocols.bitcoin.transaction import WITNESS_SCALE, Transaction

MAX_KEYS = 20
OP_16 = OP_1 + 15
_LENGTH_SIZES = {OP_PUSHDATA1: 1, OP_PUSHDATA2: 2, OP_PUSHDATA4: 4}
_KEY_HASH_SIZE = 20
_SCRIPT_HASH_SIZE = 32


def operations(script: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcodes of a script, each with what it pushes; raises ValueError at a push past the end."""
    offset = 0
    while offset < len(script):
        opcode = script[offset]
        offset += 1
        size = opcode if opcode < OP_PUSHDATA1 else 0
        if opcode in _LENGTH_SIZES:
            width = _LENGTH_SIZES[opcode]
            size = int.from_bytes(script[offset : offset + width], "little")
            offset += width
        if offset + size > len(script):
            raise ValueError("a push runs past the end of the script")
        yield opcode, script[offset : offset + size]
        offset += size


def is_push_only(script: bytes) -> bool:
    """Whether a script does nothing but push data."""
    try:
        return all(opcode <= OP_16 for opcode, _ in operations(script))
    except ValueError:
        return False


def is_pay_to_script_hash(script: bytes) -> bool:
    """Whether an output script is P2SH (BIP16)."""
    return len(script) == 23 and script == pay_to_script_hash(script[2:-1])


def sigop_cost(transaction: Transaction, spent_scripts: Sequence[bytes]) -> int:
    """The cost of a transaction that spends outputs with these scripts, in order; a coinbase spends none."""
    cost = transaction.legacy_sigops * WITNESS_SCALE
    if transaction.is_coinbase:
        return cost
    witnesses = transaction.witnesses or ((),) * len(transaction.inputs)
    for spender, script, witness in zip(transaction.inputs, spent_scripts, witnesses, strict=True):
        program = split_witness_program(script)
        if is_pay_to_script_hash(script):
            redeem = _last_push(spender.script)
            cost += _exact_sigops(redeem) * WITNESS_SCALE
            program = split_witness_program(redeem)
        if program is not None:
            cost += _witness_sigops(*program, witness)
    return cost


def _last_push(script: bytes) -> bytes:
    return [data for _, data in operations(script)][-1] if script and is_push_only(script) else b""


def _witness_sigops(version: int, program: bytes, witness: Sequence[bytes]) -> int:
    # Later versions are not counted here: taproot's budget belongs to the script.
    if version != 0:
        return 0
    if len(program) == _KEY_HASH_SIZE:
        return 1
    return _exact_sigops(witness[-1]) if len(program) == _SCRIPT_HASH_SIZE and witness else 0


def _exact_sigops(script: bytes) -> int:
    """Signature operations where a multisig counts the keys that the opcode before it names."""
    total, previous = 0, OP_0
    try:
        for opcode, _ in operations(script):
            if opcode in {OP_CHECKSIG, OP_CHECKSIGVERIFY}:
                total += 1
            elif opcode in {OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY}:
                total += previous - OP_1 + 1 if OP_1 <= previous <= OP_16 else MAX_KEYS
            previous = opcode
    except ValueError:
        # Consensus stops counting at a broken push, and keeps what it has.
        return total
    return total
