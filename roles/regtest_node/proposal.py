"""Verdicts on proposed blocks (BIP23): good but for the work, or why not, without keeping anything.

The kernel has no call for this. What needs no chain it judges itself, and it names the reason when the block
comes with work, because it then refuses before it keeps anything. What needs the chain is checked here, in
the kernel's order and with its words.
"""

from collections.abc import Sequence
from dataclasses import replace

from protocols.bitcoin.coinbase import height_push
from protocols.bitcoin.hashing import HASH_SIZE
from protocols.bitcoin.header import HEADER_SIZE, Header, parse_block
from protocols.bitcoin.merkle import witness_commitment
from protocols.bitcoin.networks import Network, subsidy
from protocols.bitcoin.target import from_bits, meets
from protocols.bitcoin.transaction import Transaction
from roles.regtest_node.admission import check_relative_locks
from roles.regtest_node.block_view import block_weight, signed
from roles.regtest_node.chain import header_of
from roles.regtest_node.chainstate import Chainstate, commitment_of
from roles.regtest_node.errors import KernelFault, TransactionRefused
from roles.regtest_node.sigops import sigop_cost
from roles.regtest_node.template import MAX_BLOCK_SIGOPS
from roles.regtest_node.transaction_check import MAX_BLOCK_WEIGHT, fee_of, is_final
from roles.regtest_node.utxo import Coin, Outpoint, made_by

MAX_FUTURE = 2 * 3600
LEAST_VERSION = 4


def judge(state: Chainstate, raw: bytes) -> str | None:
    """None for a block that lacks nothing but work, else a word of BIP22; raises UndecodableBlock."""
    well_formed = state.kernel.is_well_formed(raw)
    header = Header.parse(raw[:HEADER_SIZE])
    known = state.kernel.find(header.hash())
    if known is not None:
        return "duplicate" if state.kernel.is_active(known) else "duplicate-inconclusive"
    if header.previous != state.tip.hash:
        return "inconclusive-not-best-prevblk"
    if not well_formed:
        return _malformation(state, header, raw)
    transactions = parse_block(raw)[1]
    return (
        _header_fault(state, header)
        or _content_fault(state, transactions, block_weight(transactions))
        or _spending_fault(state, transactions)
    )


def _malformation(state: Chainstate, header: Header, raw: bytes) -> str:
    """The kernel's reason for a block that it is known to refuse on sight."""
    header = replace(header, bits=header_of(state.tip).bits, nonce=0)
    target = from_bits(header.bits)
    while not meets(header.hash(), target):
        header = replace(header, nonce=header.nonce + 1)
    verdict = state.kernel.submit(header.pack() + raw[HEADER_SIZE:])
    if verdict.reason is None:
        raise KernelFault("a block that is not well formed was taken")
    return verdict.reason


def _header_fault(state: Chainstate, header: Header) -> str | None:
    if header.bits != header_of(state.tip).bits:
        return "bad-diffbits"
    if header.time <= state.position.median_time:
        return "time-too-old"
    if header.time > state.now() + MAX_FUTURE:
        return "time-too-new"
    if signed(header.version) < LEAST_VERSION:
        return f"bad-version(0x{header.version:08x})"
    return None


def _content_fault(state: Chainstate, transactions: Sequence[Transaction], weight: int) -> str | None:
    position = state.position
    if not all(is_final(each, position.height, position.median_time) for each in transactions):
        return "bad-txns-nonfinal"
    coinbase = transactions[0]
    if not coinbase.inputs[0].script.startswith(height_push(position.height)):
        return "bad-cb-height"
    committed = commitment_of(coinbase)
    if committed is None:
        if any(any(each.witnesses) for each in transactions):
            return "unexpected-witness"
    else:
        reserved = coinbase.witnesses[0] if coinbase.witnesses else ()
        if len(reserved) != 1 or len(reserved[0]) != HASH_SIZE:
            return "bad-witness-nonce-size"
        if committed != witness_commitment([each.wtxid for each in transactions[1:]], reserved[0]):
            return "bad-witness-merkle-match"
    return "bad-blk-weight" if weight > MAX_BLOCK_WEIGHT else None


def _spending_fault(state: Chainstate, transactions: Sequence[Transaction]) -> str | None:
    made = made_by(transactions[0], state.position.height)
    spent: set[Outpoint] = set()
    fees, sigops = 0, sigop_cost(transactions[0], ())
    for transaction in transactions[1:]:
        outpoints = [Outpoint.spent_by(spender) for spender in transaction.inputs]
        coins = [made.get(each) or state.utxo.get(each) for each in outpoints if each not in spent]
        present: list[Coin] = [coin for coin in coins if coin is not None]
        if len(present) < len(outpoints):
            return "bad-txns-inputs-missingorspent"
        try:
            fees += fee_of(transaction, present, state.position.height)
            check_relative_locks(transaction, present, state.position)
        except TransactionRefused as refused:
            return "bad-txns-nonfinal" if refused.reason == "non-BIP68-final" else refused.reason
        sigops += sigop_cost(transaction, [coin.script for coin in present])
        if sigops > MAX_BLOCK_SIGOPS:
            return "bad-blk-sigops"
        outputs = [(coin.value, coin.script) for coin in present]
        if state.kernel.failing_input(transaction.serialize(), outputs) is not None:
            # The engine tells a transaction's verdict without the reason in words.
            return "block-script-verify-flag-failed"
        spent.update(outpoints)
        made.update(made_by(transaction, state.position.height))
    reward = sum(output.value for output in transactions[0].outputs)
    return "bad-cb-amount" if reward > subsidy(state.position.height, Network.REGTEST) + fees else None
