"""RPC methods that look at the chain."""

from protocols.bitcoin.encoding import ByteReader
from protocols.bitcoin.hashing import display
from protocols.bitcoin.header import HEADER_SIZE, parse_block
from protocols.bitcoin.target import difficulty, from_bits
from roles.regtest_node.block_view import as_float, block_json, difficulty_json, header_json
from roles.regtest_node.chain import header_of
from roles.regtest_node.errors import INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, MISC_ERROR, RpcError
from roles.regtest_node.jsonrpc import Amount, Json
from roles.regtest_node.kernel import Entry
from roles.regtest_node.method import Kind, Method, Parameter, hash_from, whole
from roles.regtest_node.script_view import script_json
from roles.regtest_node.thread import Node
from roles.regtest_node.utxo import Outpoint

TOPIC = "Blockchain"


def _getbestblockhash(node: Node) -> Json:
    return display(node.state.tip.hash)


def _getblockcount(node: Node) -> Json:
    return node.state.tip.height


def _getdifficulty(node: Node) -> Json:
    return as_float(difficulty(from_bits(header_of(node.state.tip).bits)))


def _getblockhash(node: Node, height: Json) -> Json:
    wanted = whole(height)
    if not 0 <= wanted <= node.state.tip.height:
        raise RpcError(INVALID_PARAMETER, "Block height out of range")
    return display(node.state.kernel.at(wanted).hash)


def _getblockheader(node: Node, blockhash: str, verbose: Json) -> Json:
    entry = known_block(node, blockhash)
    return header_json(node.state, entry, _count(node, entry)) if verbose else entry.header.hex()


def _getblock(node: Node, blockhash: str, verbosity: Json) -> Json:
    level = int(verbosity) if isinstance(verbosity, bool) else whole(verbosity)
    entry = known_block(node, blockhash)
    raw = node.state.kernel.block(entry)
    if raw is None:
        raise RpcError(MISC_ERROR, "Block not available (not fully downloaded)")
    if level <= 0:
        return raw.hex()
    return block_json(node.state, entry, parse_block(raw)[1], detailed=level > 1)


def _getblockchaininfo(node: Node) -> Json:
    state = node.state
    header = header_of(state.tip)
    stored = [file.stat().st_size for file in (state.directory.chain / "blocks").glob("*.dat")]
    return {
        "chain": "regtest",
        "blocks": state.tip.height,
        "headers": max(state.tip.height, state.kernel.best_header().height),
        "bestblockhash": display(state.tip.hash),
        **difficulty_json(header.bits),
        "time": header.time,
        "mediantime": state.position.median_time,
        "verificationprogress": 1,
        "initialblockdownload": state.is_catching_up,
        "chainwork": f"{state.chain.work(state.tip):064x}",
        "size_on_disk": sum(stored),
        "pruned": False,
        "warnings": [],
    }


def _gettxout(node: Node, txid: str, n: Json, include_mempool: Json) -> Json:
    state = node.state
    outpoint = Outpoint(hash_from(txid, "txid"), whole(n, least=0, most=0xFFFFFFFF))
    coin = state.utxo.get(outpoint)
    if include_mempool:
        coin = coin or state.mempool.coin(outpoint, state.position.height)
        if state.mempool.spender(outpoint) is not None:
            coin = None
    if coin is None:
        return None
    return {
        "bestblock": display(state.tip.hash),
        # A coin of the mempool stands in the block to come.
        "confirmations": state.tip.height - coin.height + 1,
        "value": Amount(coin.value),
        "scriptPubKey": script_json(coin.script),
        "coinbase": coin.coinbase,
    }


def known_block(node: Node, blockhash: str) -> Entry:
    """The block of an argument; raises RpcError."""
    entry = node.state.kernel.find(hash_from(blockhash, "blockhash"))
    if entry is None:
        raise RpcError(INVALID_ADDRESS_OR_KEY, "Block not found")
    return entry


def _count(node: Node, entry: Entry) -> int:
    raw = node.state.kernel.block(entry)
    return 0 if raw is None else ByteReader(raw, HEADER_SIZE).compact_size()


_HASH = Parameter("blockhash", (Kind.STRING,), "The block's hash")

METHODS = (
    Method(
        "getbestblockhash", TOPIC, "The hash of the last block of the active chain.", (), _getbestblockhash
    ),
    Method(
        "getblock",
        TOPIC,
        "A block: as hex at verbosity 0, as object at 1, with decoded transactions at 2.",
        (
            _HASH,
            Parameter("verbosity|verbose", (Kind.NUMBER, Kind.BOOL), "0, 1 or 2", required=False, default=1),
        ),
        _getblock,
    ),
    Method("getblockchaininfo", TOPIC, "The state of the chain.", (), _getblockchaininfo),
    Method(
        "getblockcount", TOPIC, "The height of the active chain; the genesis block is 0.", (), _getblockcount
    ),
    Method(
        "getblockhash",
        TOPIC,
        "The hash of the active chain's block at a height.",
        (Parameter("height", (Kind.NUMBER,), "The height"),),
        _getblockhash,
    ),
    Method(
        "getblockheader",
        TOPIC,
        "A block header: as object, or as hex.",
        (_HASH, Parameter("verbose", (Kind.BOOL,), "false for hex", required=False, default=True)),
        _getblockheader,
    ),
    Method("getdifficulty", TOPIC, "The difficulty of the last block.", (), _getdifficulty),
    Method(
        "gettxout",
        TOPIC,
        "An unspent output, or null.",
        (
            Parameter("txid", (Kind.STRING,), "The transaction"),
            Parameter("n", (Kind.NUMBER,), "The output's index"),
            Parameter(
                "include_mempool",
                (Kind.BOOL,),
                "Whether to look at the mempool",
                required=False,
                default=True,
            ),
        ),
        _gettxout,
    ),
)
