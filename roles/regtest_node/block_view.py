"""Blocks, headers and transactions as bitcoind shows them."""

from collections.abc import Sequence
from fractions import Fraction

from protocols.bitcoin.encoding import compact_size
from protocols.bitcoin.hashing import display
from protocols.bitcoin.header import HEADER_SIZE
from protocols.bitcoin.target import difficulty, from_bits
from protocols.bitcoin.transaction import WITNESS_SCALE, Transaction
from roles.regtest_node.chain import header_of
from roles.regtest_node.chainstate import Chainstate
from roles.regtest_node.jsonrpc import Amount, Json
from roles.regtest_node.kernel import Entry
from roles.regtest_node.script_view import disassemble, script_json


def header_json(state: Chainstate, entry: Entry, count: int) -> dict[str, Json]:
    """A header; ``count`` is the number of the block's transactions, 0 where only the header is known."""
    header, chain = header_of(entry), state.chain
    shown: dict[str, Json] = {
        "hash": display(entry.hash),
        "confirmations": chain.confirmations(entry),
        "height": entry.height,
        "version": signed(header.version),
        "versionHex": f"{header.version:08x}",
        "merkleroot": display(header.merkle_root),
        "time": header.time,
        "mediantime": chain.median_time(entry),
        "nonce": header.nonce,
        **difficulty_json(header.bits),
        "chainwork": f"{chain.work(entry):064x}",
        "nTx": count,
    }
    if entry.height:
        shown["previousblockhash"] = display(header.previous)
    successor = chain.successor(entry)
    if successor is not None:
        shown["nextblockhash"] = display(successor.hash)
    return shown


def block_json(
    state: Chainstate, entry: Entry, transactions: Sequence[Transaction], *, detailed: bool
) -> dict[str, Json]:
    """A block; ``detailed`` shows its transactions instead of their ids."""
    stripped, size = _sizes(transactions)
    shown = header_json(state, entry, len(transactions)) | {
        "strippedsize": stripped,
        "size": size,
        "weight": block_weight(transactions),
    }
    if not detailed:
        return shown | {"tx": [display(each.txid) for each in transactions]}
    fees = _fees(state, entry, transactions)
    shown["tx"] = [
        transaction_json(each)
        | ({} if fee is None else {"fee": Amount(fee)})
        | {"hex": each.serialize().hex()}
        for each, fee in zip(transactions, fees, strict=True)
    ]
    return shown


def block_weight(transactions: Sequence[Transaction]) -> int:
    """Weight units of a block with these transactions (BIP141)."""
    stripped, size = _sizes(transactions)
    return stripped * (WITNESS_SCALE - 1) + size


def _sizes(transactions: Sequence[Transaction]) -> tuple[int, int]:
    """Bytes of a block without and with its witnesses."""
    head = HEADER_SIZE + len(compact_size(len(transactions)))
    stripped = head + sum(len(each.stripped) for each in transactions)
    return stripped, head + sum(len(each.serialize()) for each in transactions)


def transaction_json(transaction: Transaction) -> dict[str, Json]:
    """A transaction without what depends on its place."""
    raw, weight = transaction.serialize(), transaction.weight
    return {
        "txid": display(transaction.txid),
        "hash": display(transaction.wtxid),
        "version": transaction.version,
        "size": len(raw),
        "vsize": -(-weight // WITNESS_SCALE),
        "weight": weight,
        "locktime": transaction.locktime,
        "vin": [_input_json(transaction, index) for index in range(len(transaction.inputs))],
        "vout": [
            {"value": Amount(output.value), "n": index, "scriptPubKey": script_json(output.script)}
            for index, output in enumerate(transaction.outputs)
        ],
    }


def difficulty_json(bits: int) -> dict[str, Json]:
    """The three forms in which bitcoind tells how hard a block is."""
    target = from_bits(bits)
    return {"bits": f"{bits:08x}", "target": f"{target:064x}", "difficulty": as_float(difficulty(target))}


def as_float(value: Fraction) -> float:
    """A fraction as JSON number."""
    return value.numerator / value.denominator


def signed(value: int) -> int:
    """A 32-bit unsigned integer read as signed, as block versions are shown."""
    return value - (1 << 32) if value >> 31 else value


def _input_json(transaction: Transaction, index: int) -> dict[str, Json]:
    spender = transaction.inputs[index]
    shown: dict[str, Json] = (
        {"coinbase": spender.script.hex()}
        if transaction.is_coinbase
        else {
            "txid": display(spender.txid),
            "vout": spender.index,
            "scriptSig": {"asm": disassemble(spender.script), "hex": spender.script.hex()},
        }
    )
    if transaction.witnesses and transaction.witnesses[index]:
        shown["txinwitness"] = [item.hex() for item in transaction.witnesses[index]]
    return shown | {"sequence": spender.sequence}


def _fees(state: Chainstate, entry: Entry, transactions: Sequence[Transaction]) -> list[int | None]:
    """The fee of each transaction; None for the coinbase, and for all where the block never was connected."""
    unknown: list[int | None] = [None] * len(transactions)
    if not state.kernel.is_active(entry) or entry.height == 0:
        return unknown
    spent = state.kernel.spent(entry)
    return [None] + [
        sum(origin.value for origin in origins) - sum(output.value for output in each.outputs)
        for each, origins in zip(transactions[1:], spent, strict=True)
    ]
