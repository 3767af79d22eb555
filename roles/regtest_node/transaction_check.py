"""Rules that need nothing but the transaction, and those that need its inputs: consensus and relay policy.

Reasons are bitcoind's, so that a client sees the same words from either node.
"""

from collections.abc import Sequence

from protocols.bitcoin.script import OP_RETURN, split_witness_program
from protocols.bitcoin.transaction import FINAL_SEQUENCE, NULL_INDEX, WITNESS_SCALE, Transaction
from roles.regtest_node.errors import TransactionRefused
from roles.regtest_node.sigops import is_push_only
from roles.regtest_node.utxo import Coin, is_unspendable

MAX_MONEY = 21_000_000 * 100_000_000
MAX_BLOCK_WEIGHT = 4_000_000
COINBASE_MATURITY = 100
LOCKTIME_THRESHOLD = 500_000_000

SEQUENCE_DISABLED = 1 << 31
SEQUENCE_IS_TIME = 1 << 22
SEQUENCE_MASK = 0xFFFF
SEQUENCE_GRANULARITY = 9

MAX_STANDARD_WEIGHT = 400_000
MAX_STANDARD_VERSION = 3
MAX_STANDARD_SCRIPT_SIG = 1_650
MAX_DATA_CARRIED = 100_000
LEAST_STRIPPED_SIZE = 65
DUST_FEE = 3_000
"""Satoshi a kilo virtual byte at which an output must be worth more than spending it costs."""


def check_form(transaction: Transaction) -> None:
    """Consensus rules that look at nothing else; raises TransactionRefused."""
    if not transaction.outputs:
        raise TransactionRefused("bad-txns-vout-empty")
    if len(transaction.stripped) * WITNESS_SCALE > MAX_BLOCK_WEIGHT:
        raise TransactionRefused("bad-txns-oversize")
    total = 0
    for output in transaction.outputs:
        if output.value >> 63:
            raise TransactionRefused("bad-txns-vout-negative")
        if output.value > MAX_MONEY:
            raise TransactionRefused("bad-txns-vout-toolarge")
        total += output.value
        if total > MAX_MONEY:
            raise TransactionRefused("bad-txns-txouttotal-toolarge")
    if len({(spender.txid, spender.index) for spender in transaction.inputs}) < len(transaction.inputs):
        raise TransactionRefused("bad-txns-inputs-duplicate")
    if transaction.is_coinbase:
        if not 2 <= len(transaction.inputs[0].script) <= 100:
            raise TransactionRefused("bad-cb-length")
    elif any(spender.index == NULL_INDEX and not any(spender.txid) for spender in transaction.inputs):
        raise TransactionRefused("bad-txns-prevout-null")


def check_standard(transaction: Transaction) -> None:
    """Relay policy on form and size; raises TransactionRefused."""
    if not 1 <= transaction.version <= MAX_STANDARD_VERSION:
        raise TransactionRefused("version")
    if transaction.weight > MAX_STANDARD_WEIGHT:
        raise TransactionRefused("tx-size")
    for spender in transaction.inputs:
        if len(spender.script) > MAX_STANDARD_SCRIPT_SIG:
            raise TransactionRefused("scriptsig-size")
        if not is_push_only(spender.script):
            raise TransactionRefused("scriptsig-not-pushonly")
    if (
        sum(len(output.script) for output in transaction.outputs if _carries_data(output.script))
        > MAX_DATA_CARRIED
    ):
        raise TransactionRefused("datacarrier")
    if any(output.value < dust_threshold(output.script) for output in transaction.outputs):
        raise TransactionRefused("dust")
    if len(transaction.stripped) < LEAST_STRIPPED_SIZE:
        raise TransactionRefused("tx-size-small")


def is_final(transaction: Transaction, height: int, median_time: int) -> bool:
    """Whether locktime allows a transaction into a block at ``height`` after a block of ``median_time``."""
    limit = height if transaction.locktime < LOCKTIME_THRESHOLD else median_time
    if transaction.locktime == 0 or transaction.locktime < limit:
        return True
    return all(spender.sequence == FINAL_SEQUENCE for spender in transaction.inputs)


def relative_lock(sequence: int) -> tuple[int, int]:
    """The blocks and the seconds that BIP68 makes an input wait after its coin; zeros without a lock."""
    if sequence & SEQUENCE_DISABLED:
        return 0, 0
    amount = sequence & SEQUENCE_MASK
    return (0, amount << SEQUENCE_GRANULARITY) if sequence & SEQUENCE_IS_TIME else (amount, 0)


def fee_of(transaction: Transaction, coins: Sequence[Coin], height: int) -> int:
    """The fee in satoshi of a transaction in a block at ``height``; raises TransactionRefused.

    Checks maturity of coinbases and that no more is paid than the coins hold.
    """
    total = 0
    for coin in coins:
        if coin.coinbase and height - coin.height < COINBASE_MATURITY:
            raise TransactionRefused(
                "bad-txns-premature-spend-of-coinbase",
                f"tried to spend coinbase at depth {height - coin.height}",
            )
        total += coin.value
        if coin.value > MAX_MONEY or total > MAX_MONEY:
            raise TransactionRefused("bad-txns-inputvalues-outofrange")
    paid = sum(output.value for output in transaction.outputs)
    if total < paid:
        raise TransactionRefused(
            "bad-txns-in-belowout", f"value in ({_money(total)}) < value out ({_money(paid)})"
        )
    return total - paid


def dust_threshold(script: bytes) -> int:
    """The least value in satoshi of an output with this script; 0 for one that cannot be spent anyway."""
    if is_unspendable(script):
        return 0
    size = 8 + 1 + len(script) + (67 if split_witness_program(script) else 148)
    return size * DUST_FEE // 1_000


def _carries_data(script: bytes) -> bool:
    return script[:1] == bytes((OP_RETURN,))


def _money(satoshi: int) -> str:
    return f"{satoshi // 100_000_000}.{satoshi % 100_000_000:08}"
