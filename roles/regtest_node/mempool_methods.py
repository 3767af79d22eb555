"""RPC methods on transactions: sending, testing, and looking at the mempool."""

from fractions import Fraction

from protocols.bitcoin.hashing import display
from protocols.bitcoin.header import parse_block
from protocols.bitcoin.transaction import FINAL_SEQUENCE, Transaction
from roles.regtest_node.admission import (
    INCREMENTAL_FEE,
    MAX_CLUSTER,
    MAX_CLUSTER_SIZE,
    MAX_MEMPOOL_BYTES,
    MIN_RELAY_FEE,
    decode,
)
from roles.regtest_node.block_view import header_json, transaction_json
from roles.regtest_node.blockchain_methods import known_block
from roles.regtest_node.chainstate import Chainstate
from roles.regtest_node.errors import (
    DESERIALIZATION_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    MISC_ERROR,
    TYPE_ERROR,
    VERIFY_ALREADY_IN_CHAIN,
    VERIFY_ERROR,
    VERIFY_REJECTED,
    RpcError,
    TransactionRefused,
    UndecodableTransaction,
)
from roles.regtest_node.jsonrpc import Amount, Json
from roles.regtest_node.mempool import MempoolEntry
from roles.regtest_node.method import Kind, Method, Parameter, hash_from
from roles.regtest_node.thread import Node
from roles.regtest_node.transaction_check import MAX_DATA_CARRIED
from roles.regtest_node.utxo import is_unspendable

TOPIC = "Rawtransactions"
POOL_TOPIC = "Blockchain"
DEFAULT_MAX_FEE_RATE = "0.10"
MAX_TESTED = 25
_COIN = 100_000_000
_REPLACEABLE = FINAL_SEQUENCE - 1


def _sendrawtransaction(node: Node, hexstring: str, maxfeerate: Json, maxburnamount: Json) -> Json:
    transaction = _transaction_from(hexstring)
    limit = _fee_rate(maxfeerate)
    burn_limit = _satoshi(maxburnamount)
    if any(is_unspendable(output.script) and output.value > burn_limit for output in transaction.outputs):
        raise RpcError(VERIFY_ERROR, "Unspendable output exceeds maximum configured by user (maxburnamount)")
    state = node.state
    known = state.mempool.get(transaction.txid)
    if known is None:
        if state.utxo.holds_any_of(transaction):
            raise RpcError(VERIFY_ALREADY_IN_CHAIN, "Transaction outputs already in utxo set")
        try:
            candidate = state.examine(transaction)
        except TransactionRefused as error:
            raise RpcError(VERIFY_ERROR if error.missing else VERIFY_REJECTED, str(error)) from error
        if _exceeds(candidate.entry, limit):
            raise RpcError(
                VERIFY_ERROR, "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
            )
        state.admit(candidate)
    return display(transaction.txid)


def _testmempoolaccept(node: Node, rawtxs: list[Json], maxfeerate: Json) -> Json:
    if not 1 <= len(rawtxs) <= MAX_TESTED:
        raise RpcError(INVALID_PARAMETER, f"Array must contain between 1 and {MAX_TESTED} transactions.")
    if not all(isinstance(each, str) for each in rawtxs):
        raise RpcError(TYPE_ERROR, "JSON value is not a string as expected")
    limit = _fee_rate(maxfeerate)
    return [_tested(node.state, _transaction_from(each), limit) for each in rawtxs]


def _getrawtransaction(node: Node, txid: str, verbosity: Json, blockhash: str | None) -> Json:
    wanted, state = hash_from(txid, "parameter 1"), node.state
    if blockhash is None:
        entry = state.mempool.get(wanted)
        if entry is None:
            raise RpcError(
                INVALID_ADDRESS_OR_KEY,
                "No such mempool transaction. Provide a block hash to look into a block",
            )
        return (
            transaction_json(entry.transaction) | {"hex": entry.raw.hex()} if verbosity else entry.raw.hex()
        )
    block = known_block(node, blockhash)
    raw = state.kernel.block(block)
    if raw is None:
        raise RpcError(MISC_ERROR, "Block not available")
    transactions = parse_block(raw)[1]
    for transaction in transactions:
        if transaction.txid == wanted:
            if not verbosity:
                return transaction.serialize().hex()
            place = header_json(state, block, len(transactions))
            return transaction_json(transaction) | {
                "in_active_chain": state.kernel.is_active(block),
                "hex": transaction.serialize().hex(),
                "blockhash": blockhash,
                "confirmations": max(place["confirmations"], 0),
                "time": place["time"],
                "blocktime": place["time"],
            }
    raise RpcError(INVALID_ADDRESS_OR_KEY, "No such transaction found in the provided block")


def _getrawmempool(node: Node, verbose: Json, mempool_sequence: Json) -> Json:
    pool = node.state.mempool
    if verbose:
        if mempool_sequence:
            raise RpcError(INVALID_PARAMETER, "Verbose results cannot contain mempool sequence values.")
        return {display(entry.txid): _entry_json(node.state, entry) for entry in pool}
    txids = [display(entry.txid) for entry in pool]
    return {"txids": txids, "mempool_sequence": pool.updates} if mempool_sequence else txids


def _getmempoolentry(node: Node, txid: str) -> Json:
    entry = node.state.mempool.get(hash_from(txid, "txid"))
    if entry is None:
        raise RpcError(INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
    return _entry_json(node.state, entry)


def _getmempoolinfo(node: Node) -> Json:
    pool = node.state.mempool
    return {
        "loaded": True,
        "size": len(pool),
        "bytes": sum(entry.virtual_size for entry in pool),
        "usage": pool.size,
        "total_fee": Amount(sum(entry.fee for entry in pool)),
        "maxmempool": MAX_MEMPOOL_BYTES,
        "mempoolminfee": Amount(MIN_RELAY_FEE),
        "minrelaytxfee": Amount(MIN_RELAY_FEE),
        "incrementalrelayfee": Amount(INCREMENTAL_FEE),
        "unbroadcastcount": 0,
        "fullrbf": True,
        "permitbaremultisig": True,
        "maxdatacarriersize": MAX_DATA_CARRIED,
        "limitclustercount": MAX_CLUSTER,
        "limitclustersize": MAX_CLUSTER_SIZE,
    }


def _tested(state: Chainstate, transaction: Transaction, limit: int) -> dict[str, Json]:
    told: dict[str, Json] = {"txid": display(transaction.txid), "wtxid": display(transaction.wtxid)}
    try:
        entry = state.examine(transaction).entry
    except TransactionRefused as error:
        reason = "missing-inputs" if error.missing else error.reason
        return told | {"allowed": False, "reject-reason": reason, "reject-details": str(error)}
    if _exceeds(entry, limit):
        return told | {"allowed": False, "reject-reason": "max-fee-exceeded"}
    rate = entry.fee * 1_000 // entry.virtual_size
    fees = {
        "base": Amount(entry.fee),
        "effective-feerate": Amount(rate),
        "effective-includes": [told["wtxid"]],
    }
    return told | {"allowed": True, "vsize": entry.virtual_size, "fees": fees}


def _entry_json(state: Chainstate, entry: MempoolEntry) -> dict[str, Json]:
    pool = state.mempool
    ancestors = _entries(state, pool.ancestors((entry.txid,)))
    descendants = _entries(state, pool.descendants((entry.txid,)))
    replaceable = any(spender.sequence < _REPLACEABLE for spender in entry.transaction.inputs)
    return {
        "vsize": entry.virtual_size,
        "weight": entry.weight,
        "time": entry.time,
        "height": entry.height,
        "descendantcount": len(descendants),
        "descendantsize": sum(each.virtual_size for each in descendants),
        "ancestorcount": len(ancestors),
        "ancestorsize": sum(each.virtual_size for each in ancestors),
        "wtxid": display(entry.transaction.wtxid),
        "fees": {
            "base": Amount(entry.fee),
            "modified": Amount(entry.fee),
            "ancestor": Amount(sum(each.fee for each in ancestors)),
            "descendant": Amount(sum(each.fee for each in descendants)),
        },
        "depends": [display(txid) for txid in entry.parents],
        "spentby": [display(txid) for txid in entry.children],
        "bip125-replaceable": replaceable,
        "unbroadcast": False,
    }


def _entries(state: Chainstate, txids: set[bytes]) -> list[MempoolEntry]:
    return [entry for entry in map(state.mempool.get, txids) if entry is not None]


def _transaction_from(text: str) -> Transaction:
    try:
        return decode(bytes.fromhex(text))
    except (ValueError, UndecodableTransaction) as error:
        raise RpcError(
            DESERIALIZATION_ERROR, "TX decode failed. Make sure the tx has at least one input."
        ) from error


def _satoshi(amount: Json) -> int:
    """Satoshi of an amount in bitcoin, a number or a string; raises RpcError."""
    try:
        satoshi = Fraction(str(amount)) * _COIN
    except (ValueError, ZeroDivisionError) as error:
        raise RpcError(TYPE_ERROR, "Invalid amount") from error
    if satoshi.denominator != 1:
        raise RpcError(TYPE_ERROR, "Invalid amount")
    if not 0 <= satoshi <= 21_000_000 * _COIN:
        raise RpcError(TYPE_ERROR, "Amount out of range")
    return int(satoshi)


def _fee_rate(amount: Json) -> int:
    """Satoshi a kilo virtual byte; raises RpcError."""
    rate = _satoshi(amount)
    if rate >= _COIN:
        raise RpcError(INVALID_PARAMETER, "Fee rates larger than or equal to 1BTC/kvB are not accepted")
    return rate


def _exceeds(entry: MempoolEntry, rate: int) -> bool:
    """Whether a fee is above a rate in satoshi a kilo virtual byte; 0 is no limit."""
    return rate > 0 and entry.fee > rate * entry.virtual_size // 1_000


_TXID = Parameter("txid", (Kind.STRING,), "The transaction")
_MAX_FEE_RATE = Parameter(
    "maxfeerate",
    (Kind.NUMBER, Kind.STRING),
    "The highest fee rate to accept, in BTC/kvB; 0 for any",
    required=False,
    default=DEFAULT_MAX_FEE_RATE,
)

METHODS = (
    Method("getmempoolentry", POOL_TOPIC, "A transaction of the mempool.", (_TXID,), _getmempoolentry),
    Method("getmempoolinfo", POOL_TOPIC, "The state of the mempool.", (), _getmempoolinfo),
    Method(
        "getrawmempool",
        POOL_TOPIC,
        "The ids of the mempool's transactions, or all that is known of them.",
        (
            Parameter("verbose", (Kind.BOOL,), "true for an object", required=False, default=False),
            Parameter("mempool_sequence", (Kind.BOOL,), "true to add it", required=False, default=False),
        ),
        _getrawmempool,
    ),
    Method(
        "getrawtransaction",
        TOPIC,
        "A transaction of the mempool, or of a block.",
        (
            _TXID,
            Parameter("verbosity|verbose", (Kind.NUMBER, Kind.BOOL), "0 for hex", required=False, default=0),
            Parameter("blockhash", (Kind.STRING,), "The block to look into", required=False),
        ),
        _getrawtransaction,
    ),
    Method(
        "sendrawtransaction",
        TOPIC,
        "Takes a transaction into the mempool and returns its id.",
        (
            Parameter("hexstring", (Kind.STRING,), "The transaction as hex"),
            _MAX_FEE_RATE,
            Parameter(
                "maxburnamount",
                (Kind.NUMBER, Kind.STRING),
                "The most BTC that an unspendable output may hold",
                required=False,
                default=0,
            ),
        ),
        _sendrawtransaction,
    ),
    Method(
        "testmempoolaccept",
        TOPIC,
        "Whether the mempool would take transactions, each for itself.",
        (Parameter("rawtxs", (Kind.ARRAY,), "Transactions as hex"), _MAX_FEE_RATE),
        _testmempoolaccept,
    ),
)
