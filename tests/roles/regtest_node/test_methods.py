"""The RPC methods, over a real socket with a real chain."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.hashing import from_display
from protocols.bitcoin.header import HEADER_SIZE, Header, parse_block, serialize_block
from protocols.bitcoin.merkle import merkle_root
from protocols.bitcoin.transaction import Transaction, TxOut
from roles.regtest_node.utxo import Outpoint
from tests.roles.regtest_node.client import Client, RpcFailure
from tests.roles.regtest_node.forge import SCRIPT, Held, output_of, spend

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
DESCRIPTOR = f"raw({SCRIPT.hex()})"


async def refusal(client: Client, method: str, *params: Any) -> tuple[int, str]:
    with pytest.raises(RpcFailure) as caught:
        await client.call(method, *params)
    return caught.value.code, caught.value.message


async def mature_coin(client: Client) -> Held:
    """A reward of the tests' own key that can be spent."""
    first = (await client.call("generatetodescriptor", 101, DESCRIPTOR))[0]
    block = await client.call("getblock", first, 1)
    return Held(Outpoint(from_display(block["tx"][0]), 0), 50 * 100_000_000)


async def test_a_fresh_chain_is_bitcoinds_genesis(client: Client) -> None:
    assert await client.call("getblockcount") == 0
    assert await client.call("getbestblockhash") == await client.call("getblockhash", 0) == GENESIS
    info = await client.call("getblockchaininfo")
    assert (info["chain"], info["blocks"], info["headers"]) == ("regtest", 0, 0)
    assert info["initialblockdownload"] is True
    assert info["bits"] == "207fffff"
    assert info["chainwork"] == "00" * 31 + "02"
    assert info["pruned"] is False
    header = await client.call("getblockheader", GENESIS)
    assert "previousblockhash" not in header
    assert "nextblockhash" not in header


async def test_mining_moves_the_chain_and_pays_the_address(client: Client) -> None:
    hashes = await client.call("generatetoaddress", 3, ADDRESS)
    assert len(hashes) == 3
    assert await client.call("getbestblockhash") == hashes[2]
    info = await client.call("getblockchaininfo")
    assert (info["blocks"], info["initialblockdownload"]) == (3, False)
    block = await client.call("getblock", hashes[2], 2)
    outputs = block["tx"][0]["vout"]
    assert outputs[0]["scriptPubKey"]["address"] == ADDRESS
    assert outputs[0]["value"] == 50.0
    assert outputs[1]["scriptPubKey"]["type"] == "nulldata"
    assert (await client.call("getmininginfo"))["blocks"] == 3


async def test_amounts_have_eight_decimals(client: Client) -> None:
    tip = (await client.call("generatetoaddress", 1, ADDRESS))[0]
    _, body = await client.post(f'{{"method":"getblock","params":["{tip}",2],"id":1}}'.encode())
    assert b'"value":50.00000000' in body


async def test_a_block_is_told_in_three_ways(client: Client) -> None:
    hashes = await client.call("generatetoaddress", 2, ADDRESS)
    raw = bytes.fromhex(await client.call("getblock", hashes[0], 0))
    header, transactions = parse_block(raw)
    assert header.hash() == from_display(hashes[0])
    short = await client.call("getblock", hashes[0])
    assert (
        short == await client.call("getblock", hashes[0], 1) == await client.call("getblock", hashes[0], True)
    )
    assert (short["height"], short["confirmations"], short["nTx"]) == (1, 2, 1)
    assert (short["previousblockhash"], short["nextblockhash"]) == (GENESIS, hashes[1])
    assert (short["time"], short["nonce"], short["version"]) == (header.time, header.nonce, 0x20000000)
    assert (short["size"], short["weight"]) == (len(raw), short["strippedsize"] * 3 + len(raw))
    assert from_display(short["tx"][0]) == transactions[0].txid
    long = await client.call("getblock", hashes[0], 2)
    assert bytes.fromhex(long["tx"][0]["hex"]) == transactions[0].serialize()
    assert long["tx"][0]["vin"][0]["coinbase"] == transactions[0].inputs[0].script.hex()


async def test_a_header_is_told_in_two_ways(client: Client) -> None:
    tip = (await client.call("generatetoaddress", 1, ADDRESS))[0]
    raw = bytes.fromhex(await client.call("getblockheader", tip, False))
    assert len(raw) == HEADER_SIZE
    shown = await client.call("getblockheader", tip)
    assert shown["merkleroot"] == Header.parse(raw).merkle_root[::-1].hex()
    assert shown["versionHex"] == "20000000"
    assert shown["difficulty"] == pytest.approx(4.6565423739069247e-10)


async def test_a_stale_block_has_minus_one_confirmations(client: Client) -> None:
    template = await client.call("getblocktemplate", {"rules": ["segwit"]})
    first, second = await client.call("generatetoaddress", 2, ADDRESS)
    side = solved(template)
    assert await client.call("submitblock", side.hex()) == "inconclusive"
    name = Header.parse(side[:HEADER_SIZE]).hash()[::-1].hex()
    assert (await client.call("getblockheader", name))["confirmations"] == -1
    assert (await client.call("getblock", name))["confirmations"] == -1
    assert "fee" not in (await client.call("getblock", name, 2))["tx"][0]
    assert (await client.call("getblockheader", first))["nextblockhash"] == second


def solved(template: dict[str, Any], script: bytes = SCRIPT) -> bytes:
    """A block from what getblocktemplate says, without the coinbase's witness."""
    from protocols.bitcoin.coinbase import height_push
    from protocols.bitcoin.transaction import NULL_INDEX, TxIn

    commitment = TxOut(0, bytes.fromhex(template["default_witness_commitment"]))
    coinbase = Transaction(
        2,
        (TxIn(bytes(32), NULL_INDEX, height_push(template["height"]) + b"\x03abc"),),
        (TxOut(template["coinbasevalue"], script), commitment),
    )
    txids = [from_display(each["txid"]) for each in template["transactions"]]
    header = Header(
        template["version"],
        from_display(template["previousblockhash"]),
        merkle_root([coinbase.txid, *txids]),
        template["curtime"],
        int(template["bits"], 16),
        0,
    )
    while int.from_bytes(header.hash(), "little") > int(template["target"], 16):
        header = replace(header, nonce=header.nonce + 1)
    raws = [bytes.fromhex(each["data"]) for each in template["transactions"]]
    return serialize_block(header.pack(), coinbase.serialize(), raws)


async def test_a_transaction_goes_from_the_mempool_through_a_template_into_a_block(client: Client) -> None:
    coin = await mature_coin(client)
    transaction = spend(coin, fee=2_000)
    name = await client.call("sendrawtransaction", transaction.serialize().hex())
    assert from_display(name) == transaction.txid
    assert await client.call("sendrawtransaction", transaction.serialize().hex()) == name
    assert await client.call("getrawmempool") == [name]
    assert await client.call("getrawtransaction", name) == transaction.serialize().hex()
    template = await client.call("getblocktemplate", {"rules": ["segwit"]})
    assert [each["txid"] for each in template["transactions"]] == [name]
    assert await client.call("getblocktemplate", {"mode": "proposal", "data": solved(template).hex()}) == (
        "bad-witness-nonce-size"
    )
    assert await client.call("submitblock", solved(template).hex()) is None
    tip = await client.call("getbestblockhash")
    block = await client.call("getblock", tip, 2)
    assert block["tx"][1]["fee"] == 0.00002
    shown = await client.call("getrawtransaction", name, True, tip)
    assert (shown["confirmations"], shown["in_active_chain"]) == (1, True)
    assert await client.call("getrawmempool") == []
    assert await refusal(client, "sendrawtransaction", transaction.serialize().hex()) == (
        -27,
        "Transaction outputs already in utxo set",
    )


async def test_a_refused_transaction_is_told_as_bitcoind_does(client: Client) -> None:
    coin = await mature_coin(client)
    low = spend(coin, fee=1).serialize().hex()
    assert await refusal(client, "sendrawtransaction", low) == (-26, "min relay fee not met, 1 < 12")
    unknown = Held(replace(coin.outpoint, index=5), coin.value)
    assert await refusal(client, "sendrawtransaction", spend(unknown).serialize().hex()) == (
        -25,
        "bad-txns-inputs-missingorspent",
    )
    dear = spend(coin, fee=2_000_000).serialize().hex()
    code, text = await refusal(client, "sendrawtransaction", dear)
    assert (code, text.partition(" (")[0]) == (-25, "Fee exceeds maximum configured by user")
    burning = spend(coin, outputs=(TxOut(coin.value - 1_000, b"\x6a"),)).serialize().hex()
    assert (await refusal(client, "sendrawtransaction", burning))[0] == -25
    assert await client.call("sendrawtransaction", dear, 0)
    assert await client.call("sendrawtransaction", spend(coin, fee=3_000_000).serialize().hex(), "0.9")
    for garbage in ("zz", "00", low + "00", ""):
        assert (await refusal(client, "sendrawtransaction", garbage))[0] == -22
    assert (await refusal(client, "sendrawtransaction", low, 1))[0] == -8
    for wrong in (-1, "x", 22_000_000, 0.123456789):
        assert (await refusal(client, "sendrawtransaction", low, wrong))[0] == -3


async def test_a_transaction_can_be_tested_without_being_taken(client: Client) -> None:
    coin = await mature_coin(client)
    good, low = spend(coin), spend(coin, fee=1)
    missing = spend(Held(replace(coin.outpoint, index=5), coin.value))
    dear = spend(coin, fee=2_000_000)
    told = await client.call(
        "testmempoolaccept", [each.serialize().hex() for each in (good, low, missing, dear)]
    )
    assert [each["allowed"] for each in told] == [True, False, False, False]
    assert told[0]["fees"]["base"] == 0.00001
    assert told[0]["vsize"] == -(-good.weight // 4)
    reasons = [each["reject-reason"] for each in told[1:]]
    assert reasons == ["min relay fee not met", "missing-inputs", "max-fee-exceeded"]
    assert await client.call("getrawmempool") == []
    assert (await refusal(client, "testmempoolaccept", []))[0] == -8
    assert (await refusal(client, "testmempoolaccept", [1]))[0] == -3


async def test_the_mempool_is_told_in_full(client: Client) -> None:
    coin = await mature_coin(client)
    parent = spend(coin, fee=1_000)
    child = spend(output_of(parent), fee=3_000, sequence=0xFFFFFFFF)
    names = [await client.call("sendrawtransaction", each.serialize().hex()) for each in (parent, child)]
    told = await client.call("getrawmempool", True)
    assert list(told) == names
    first, second = told.values()
    assert (first["descendantcount"], first["ancestorcount"]) == (2, 1)
    assert (second["descendantcount"], second["ancestorcount"]) == (1, 2)
    assert second["fees"] == {
        "base": 0.00003,
        "modified": 0.00003,
        "ancestor": 0.00004,
        "descendant": 0.00003,
    }
    assert (first["spentby"], second["depends"]) == ([names[1]], [names[0]])
    assert (first["bip125-replaceable"], second["bip125-replaceable"]) == (True, False)
    assert await client.call("getmempoolentry", names[1]) == second
    sequence = await client.call("getrawmempool", False, True)
    assert sequence["txids"] == names
    info = await client.call("getmempoolinfo")
    assert (info["size"], info["total_fee"], info["minrelaytxfee"]) == (2, 0.00004, 0.000001)
    assert (await refusal(client, "getrawmempool", True, True))[0] == -8
    assert (await refusal(client, "getmempoolentry", "00" * 32))[0] == -5


async def test_an_output_is_looked_up_in_chain_and_mempool(client: Client) -> None:
    coin = await mature_coin(client)
    name = coin.outpoint.txid[::-1].hex()
    told = await client.call("gettxout", name, 0)
    assert (told["value"], told["coinbase"], told["confirmations"]) == (50.0, True, 101)
    assert told["bestblock"] == await client.call("getbestblockhash")
    assert told["scriptPubKey"]["type"] == "witness_v1_taproot"
    transaction = spend(coin)
    spender = await client.call("sendrawtransaction", transaction.serialize().hex())
    assert await client.call("gettxout", name, 0) is None
    assert (await client.call("gettxout", name, 0, False))["confirmations"] == 101
    fresh = await client.call("gettxout", spender, 0)
    assert (fresh["confirmations"], fresh["coinbase"]) == (0, False)
    assert await client.call("gettxout", spender, 0, False) is None
    assert await client.call("gettxout", spender, 1) is None
    assert await client.call("gettxout", name, 1) is None


@pytest.mark.parametrize(
    ("method", "params", "code", "text"),
    [
        ("getblockhash", [1], -8, "Block height out of range"),
        ("getblockhash", [-1], -8, "Block height out of range"),
        ("getblockhash", ["0"], -3, "Wrong type passed"),
        ("getblockhash", [0.5], -1, "JSON value is not an integer as expected"),
        ("getblock", ["00" * 32], -5, "Block not found"),
        ("getblock", ["00"], -8, "blockhash must be of length 64 (not 2, for '00')"),
        ("getblockheader", ["zz" * 32], -8, "blockhash must be hexadecimal string"),
        ("getblocktemplate", [], -1, "template_request"),
        ("getblocktemplate", [{}], -8, "getblocktemplate must be called with the segwit rule set"),
        ("getblocktemplate", [{"rules": ["csv"]}], -8, "segwit rule set"),
        ("getblocktemplate", [{"mode": "guess"}], -8, "Invalid mode"),
        ("getblocktemplate", [{"mode": 1}], -8, "Invalid mode"),
        ("getblocktemplate", [{"mode": "proposal"}], -3, "Missing data String key for proposal"),
        ("getblocktemplate", [{"mode": "proposal", "data": "00"}], -22, "Block decode failed"),
        (
            "getblocktemplate",
            [{"rules": ["segwit"], "longpollid": "abc"}],
            -8,
            "longpollid must be of length",
        ),
        ("submitblock", ["00"], -22, "Block decode failed"),
        ("submitblock", ["no hex"], -22, "Block decode failed"),
        (
            "generatetoaddress",
            [1, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"],
            -5,
            "Error: Invalid address",
        ),
        ("generatetodescriptor", [1, "raw(zz)"], -5, ""),
        ("gettxout", ["00" * 32, -1], -1, "JSON integer out of range"),
        ("getrawtransaction", ["00" * 32], -5, "No such mempool transaction"),
        ("getrawtransaction", ["00" * 32, 0, GENESIS], -5, "No such transaction found in the provided block"),
    ],
)
async def test_each_wrong_call_has_bitcoinds_code(
    client: Client, method: str, params: list[Any], code: int, text: str
) -> None:
    got, message = await refusal(client, method, *params)
    assert got == code
    assert text in message


async def test_a_header_without_its_block_is_known_as_such(client: Client) -> None:
    template = await client.call("getblocktemplate", {"rules": ["segwit"]})
    bad = solved(template | {"height": 200})
    assert await client.call("submitblock", bad.hex()) == "bad-cb-height"
    name = Header.parse(bad[:HEADER_SIZE]).hash()[::-1].hex()
    assert (await client.call("getblockheader", name))["nTx"] == 0
    assert await refusal(client, "getblock", name) == (-1, "Block not available (not fully downloaded)")
    assert await refusal(client, "getrawtransaction", "00" * 32, 0, name) == (-1, "Block not available")


async def test_help_knows_every_method(client: Client) -> None:
    overview = await client.call("help")
    for name in ("getblocktemplate", "submitblock", "getblock", "stop", "help"):
        assert name in overview
        assert (await client.call("help", name)).startswith(name)
    assert await client.call("help", "nothing") == "help: unknown command: nothing"


async def test_the_node_tells_of_itself(client: Client) -> None:
    info = await client.call("getnetworkinfo")
    assert (info["connections"], info["relayfee"]) == (0, 0.000001)
    assert await client.call("uptime") >= 0
    assert await client.call("getdifficulty") == pytest.approx(4.6565423739069247e-10)


async def test_hashes_allowed_bound_the_work(client: Client) -> None:
    assert await client.call("generatetoaddress", 5, ADDRESS, 0) == []
    assert await client.call("generatetoaddress", 0, ADDRESS) == []
    assert len(await client.call("generatetoaddress", 100_000, ADDRESS, 40)) <= 40


async def test_other_calls_get_their_turn_while_blocks_are_mined(client: Client) -> None:
    mining = asyncio.ensure_future(client.call("generatetoaddress", 200, ADDRESS))
    heights = set()
    while not mining.done():
        heights.add(await client.call("getblockcount"))
    await mining
    assert len(heights) > 2


async def test_stop_stops_the_node_after_its_answer(client: Client, tmp_path: Path) -> None:
    assert (await client.call("stop")).endswith("stopping")
    async with asyncio.timeout(30):
        while (tmp_path / ".cookie").exists():
            await asyncio.sleep(0.005)
