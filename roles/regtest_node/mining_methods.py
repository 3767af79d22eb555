"""RPC methods for miners: templates, submission, and blocks on demand."""

from protocols.bitcoin.address import script_from_address
from protocols.bitcoin.descriptor import script_from_descriptor
from protocols.bitcoin.errors import AddressError, BitcoinError
from protocols.bitcoin.hashing import display
from protocols.bitcoin.networks import Network
from roles.regtest_node.admission import MIN_RELAY_FEE
from roles.regtest_node.block_view import difficulty_json
from roles.regtest_node.chain import header_of
from roles.regtest_node.errors import (
    DESERIALIZATION_ERROR,
    INTERNAL_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    NOT_CONNECTED,
    TYPE_ERROR,
    RpcError,
    UndecodableBlock,
)
from roles.regtest_node.jsonrpc import Amount, Json
from roles.regtest_node.method import Kind, Method, Parameter, hash_from, whole
from roles.regtest_node.proposal import judge
from roles.regtest_node.rpc import Rpc
from roles.regtest_node.template_view import template_json
from roles.regtest_node.thread import Node

TOPIC = "Mining"
FIRST_WAIT_S = 60.0
"""How long a longpoll looks at nothing but the tip."""
NEXT_WAIT_S = 10.0
"""How often it looks at the mempool after that."""
DEFAULT_TRIES = 1_000_000
HASH_RATE_WINDOW = 120


async def _getblocktemplate(rpc: Rpc, request: dict[str, Json]) -> Json:
    mode = request.get("mode", "template")
    if mode is None:
        mode = "template"
    if mode == "proposal":
        return await rpc.call(_propose, request.get("data"))
    if mode != "template":
        raise RpcError(INVALID_PARAMETER, "Invalid mode")
    if request.get("longpollid") is not None:
        with rpc.long_poll():
            await _longpoll(rpc, request["longpollid"])
    rules = request.get("rules")
    if not isinstance(rules, list) or "segwit" not in rules:
        raise RpcError(
            INVALID_PARAMETER,
            'getblocktemplate must be called with the segwit rule set (call with {"rules": ["segwit"]})',
        )
    return await rpc.call(_template)


async def _generatetoaddress(rpc: Rpc, nblocks: Json, address: str, maxtries: Json) -> Json:
    try:
        script = script_from_address(address, Network.REGTEST)
    except AddressError as error:
        raise RpcError(INVALID_ADDRESS_OR_KEY, "Error: Invalid address") from error
    return await _generate(rpc, whole(nblocks), script, whole(maxtries))


async def _generatetodescriptor(rpc: Rpc, num_blocks: Json, descriptor: str, maxtries: Json) -> Json:
    try:
        script = script_from_descriptor(descriptor, Network.REGTEST)
    except BitcoinError as error:
        raise RpcError(INVALID_ADDRESS_OR_KEY, str(error)) from error
    return await _generate(rpc, whole(num_blocks), script, whole(maxtries))


def _submitblock(node: Node, hexdata: str, _dummy: Json) -> Json:
    try:
        return node.state.submit(_block_from(hexdata))
    except UndecodableBlock as error:
        raise RpcError(DESERIALIZATION_ERROR, "Block decode failed") from error


def _getmininginfo(node: Node) -> Json:
    state = node.state
    bits = header_of(state.tip).bits
    return {
        "blocks": state.tip.height,
        **difficulty_json(bits),
        "networkhashps": _hash_rate(node),
        "pooledtx": len(state.mempool),
        "blockmintxfee": Amount(MIN_RELAY_FEE),
        "chain": "regtest",
        "next": {"height": state.tip.height + 1, **difficulty_json(bits)},
        "warnings": [],
    }


async def _generate(rpc: Rpc, count: int, script: bytes, tries: int) -> list[str]:
    # One visit to the thread a block, so that others get their turn.
    found: list[str] = []
    while len(found) < count and tries > 0:
        if rpc.stopping.is_set():
            raise RpcError(NOT_CONNECTED, "Shutting down")
        solved = await rpc.call(_mine, script, tries)
        if solved is None:
            break
        block_hash, hashes = solved
        tries -= hashes
        found.append(display(block_hash))
    return found


def _mine(node: Node, script: bytes, tries: int) -> tuple[bytes, int] | None:
    solved = node.mining.solve(script, tries=tries)
    if solved is None:
        return None
    raw, block_hash, hashes = solved
    reason = node.state.submit(raw)
    if reason is not None:
        # As after tens of thousands of blocks in a row: each sixth takes a second of the two hours ahead.
        raise RpcError(INTERNAL_ERROR, f"ProcessNewBlock, block not accepted: {reason}")
    return block_hash, hashes


def _template(node: Node) -> Json:
    template = node.mining.template()
    return template_json(template, node.mining.time_for(template))


def _propose(node: Node, data: Json) -> Json:
    if not isinstance(data, str):
        raise RpcError(TYPE_ERROR, "Missing data String key for proposal")
    raw = _block_from(data)
    try:
        return judge(node.state, raw)
    except UndecodableBlock as error:
        raise RpcError(DESERIALIZATION_ERROR, "Block decode failed") from error


async def _longpoll(rpc: Rpc, longpollid: Json) -> None:
    """Returns when the template behind an id is outdated; raises RpcError."""
    if isinstance(longpollid, str):
        tip, digits = hash_from(longpollid[:64], "longpollid"), longpollid[64:]
        updates = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0
    else:
        tip, updates = rpc.watch.tip, await rpc.call(_updates)
    seconds = FIRST_WAIT_S
    while not rpc.watch.closed:
        await rpc.watch.wait(tip, seconds)
        if rpc.watch.tip != tip or await rpc.call(_updates) != updates:
            break
        seconds = NEXT_WAIT_S
    if rpc.watch.closed:
        raise RpcError(NOT_CONNECTED, "Shutting down")


def _updates(node: Node) -> int:
    return node.state.mempool.updates


def _block_from(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise RpcError(DESERIALIZATION_ERROR, "Block decode failed") from error


def _hash_rate(node: Node) -> float:
    """Hashes a second over the last 120 blocks by their own times."""
    state = node.state
    span = min(HASH_RATE_WINDOW, state.tip.height)
    entries = [state.kernel.at(height) for height in range(state.tip.height - span, state.tip.height + 1)]
    times = [header_of(entry).time for entry in entries]
    elapsed = max(times) - min(times)
    done = state.chain.work(entries[-1]) - state.chain.work(entries[0])
    return done / elapsed if elapsed else 0.0


_TRIES = Parameter(
    "maxtries", (Kind.NUMBER,), "The most hashes to try", required=False, default=DEFAULT_TRIES
)

METHODS = (
    Method(
        "generatetoaddress",
        "Generating",
        "Mines blocks at once, their reward to an address, and returns their hashes.",
        (
            Parameter("nblocks", (Kind.NUMBER,), "How many"),
            Parameter("address", (Kind.STRING,), "Who is paid"),
            _TRIES,
        ),
        _generatetoaddress,
    ),
    Method(
        "generatetodescriptor",
        "Generating",
        "Mines blocks at once, their reward to a descriptor's script, and returns their hashes.",
        (
            Parameter("num_blocks", (Kind.NUMBER,), "How many"),
            Parameter("descriptor", (Kind.STRING,), "Who is paid"),
            _TRIES,
        ),
        _generatetodescriptor,
    ),
    Method(
        "getblocktemplate",
        TOPIC,
        "What a miner needs for the next block (BIP22, BIP23, BIP9, BIP145), or a verdict on a proposed one.",
        (
            Parameter(
                "template_request", (Kind.OBJECT,), 'rules (must hold "segwit"), longpollid, mode, data'
            ),
        ),
        _getblocktemplate,
    ),
    Method("getmininginfo", TOPIC, "The state of mining.", (), _getmininginfo),
    Method(
        "submitblock",
        TOPIC,
        "Takes a block; null if it is good, else a word of BIP22.",
        (
            Parameter("hexdata", (Kind.STRING,), "The block as hex"),
            Parameter("dummy", (), "Ignored", required=False),
        ),
        _submitblock,
    ),
)
