"""What reads the answers of a bitcoin node."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from roles.node_client import answers
from roles.node_client.errors import NodeError
from roles.node_client.jsonrpc import Call, decode, decode_batch
from tests.fuzz.campaign import Parser
from tests.fuzz.json_mutation import JsonSamples
from tests.fuzz.mutation import Mutator

HASH: Final = "11" * 32
TEMPLATE: Final = {
    "version": 0x20000000,
    "previousblockhash": HASH,
    "transactions": [
        {"data": "0102", "txid": HASH, "hash": HASH, "depends": [], "fee": 100, "sigops": 4, "weight": 400},
        {"data": "03", "txid": HASH, "hash": HASH, "depends": [1], "fee": 250, "sigops": 0, "weight": 500},
    ],
    "coinbasevalue": 5_000_000_350,
    "longpollid": HASH + "7",
    "mintime": 1_700_000_001,
    "curtime": 1_700_000_100,
    "sigoplimit": 80_000,
    "weightlimit": 4_000_000,
    "bits": "207fffff",
    "height": 120,
}
CHAIN: Final = {
    "chain": "regtest",
    "blocks": 5,
    "headers": 5,
    "bestblockhash": HASH,
    "initialblockdownload": False,
}
BLOCK: Final = {
    "hash": HASH,
    "confirmations": -1,
    "height": 5,
    "time": 1_700_000_000,
    "mediantime": 1_700_000_000,
    "bits": "207fffff",
    "previousblockhash": HASH,
}
RESULTS: Final = (TEMPLATE, CHAIN, BLOCK, HASH, "00ff", None, "bad-txnmrklroot")
ERRORS: Final = (
    {"code": -28, "message": "Loading block index…"},
    {"code": -32601, "message": "Method not found"},
)
BODIES: Final = JsonSamples(
    [
        *(json.dumps({"result": result, "error": None, "id": 1}).encode() for result in RESULTS),
        *(json.dumps({"result": None, "error": error, "id": 1}).encode() for error in ERRORS),
        json.dumps(
            [{"result": BLOCK, "error": None, "id": 0}, {"result": None, "error": ERRORS[0], "id": 1}]
        ).encode(),
        json.dumps({"error": ERRORS[1]}).encode(),
    ]
)
READERS: Final[tuple[Callable[[Any], object], ...]] = (
    answers.NodeTemplate.parse,
    answers.ChainInfo.parse,
    answers.BlockInfo.parse,
    lambda answer: answers.parse_hash("getblockhash", answer),
    lambda answer: answers.parse_data("getblock", answer),
    answers.parse_verdict,
)
CALL: Final = Call("getblocktemplate")


class Answer(NamedTuple):
    """What came over HTTP."""

    status: int
    body: bytes


def make_answer(mutator: Mutator) -> Answer:
    status = mutator.pick(tuple(HTTPStatus)).value if mutator.happens(1 / 8) else 200
    return Answer(status, BODIES.damage(mutator))


def read_answer(answer: Answer) -> None:
    if answer.body[:1] == b"[":
        assert len(decode_batch([CALL, CALL], *answer)) == 2
        return
    result = decode(CALL, 1, *answer)
    failures = []
    for reader in READERS:
        try:
            reader(result)
        except NodeError as error:
            failures.append(error)
    if len(failures) == len(READERS):
        raise failures[0]


PARSERS: Final = (Parser("node-answers", make_answer, read_answer, (NodeError,)),)
