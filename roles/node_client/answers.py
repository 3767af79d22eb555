"""bitcoind's answers as values: hashes in internal order, targets as integers.

Each `parse` raises NodeMalformed for an answer that lacks what it must have, naming the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from protocols.bitcoin.errors import TargetError
from protocols.bitcoin.hashing import HASH_SIZE
from protocols.bitcoin.target import from_bits
from roles.node_client.errors import NodeMalformed

MAX_U32 = 0xFFFFFFFF
MAX_MONEY = 21_000_000 * 100_000_000
_MAX_TRANSACTIONS = 100_000

T = TypeVar("T")


class _Fields:
    """Reads the fields of one object of an answer."""

    def __init__(self, method: str, value: Any) -> None:
        self._method = method
        if not isinstance(value, Mapping):
            raise NodeMalformed(f"the answer to {method} is not an object")
        self._value = value

    def get(self, name: str, kind: type[T]) -> T:
        found = self._value.get(name)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise self.malformed(name)
        return found

    def integer(self, name: str, least: int, most: int) -> int:
        found = self.get(name, int)
        if not least <= found <= most:
            raise self.malformed(name)
        return found

    def hash(self, name: str) -> bytes:
        return self.parse_hash(name, self.get(name, str))

    def parse_hash(self, name: str, text: str) -> bytes:
        found = self.data(name, text)
        if len(found) != HASH_SIZE:
            raise self.malformed(name)
        return found[::-1]

    def data(self, name: str, text: str) -> bytes:
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise self.malformed(name) from error

    def bits(self, name: str) -> int:
        found = self.data(name, self.get(name, str))
        if len(found) != 4:
            raise self.malformed(name)
        return int.from_bytes(found, "big")

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def malformed(self, name: str) -> NodeMalformed:
        return NodeMalformed(f"the field {name} of the answer to {self._method} is missing or wrong")


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """getblockchaininfo: the chain's name, tip and whether the node is still catching up."""

    chain: str
    blocks: int
    headers: int
    best: bytes
    initial_download: bool

    @classmethod
    def parse(cls, answer: Any) -> "ChainInfo":
        """Reads the answer; raises NodeMalformed."""
        fields = _Fields("getblockchaininfo", answer)
        return cls(
            chain=fields.get("chain", str),
            blocks=fields.integer("blocks", 0, MAX_U32),
            headers=fields.integer("headers", 0, MAX_U32),
            best=fields.hash("bestblockhash"),
            initial_download=fields.get("initialblockdownload", bool),
        )


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """getblockheader, verbose: where a block stands; `confirmations` is -1 off the active chain."""

    hash: bytes
    confirmations: int
    height: int
    time: int
    median_time: int
    bits: int
    previous: bytes | None

    @property
    def in_active_chain(self) -> bool:
        """Whether the block is part of the best chain."""
        return self.confirmations >= 0

    @classmethod
    def parse(cls, answer: Any) -> "BlockInfo":
        """Reads the answer; raises NodeMalformed."""
        fields = _Fields("getblockheader", answer)
        return cls(
            hash=fields.hash("hash"),
            confirmations=fields.integer("confirmations", -1, MAX_U32),
            height=fields.integer("height", 0, MAX_U32),
            time=fields.integer("time", 0, MAX_U32),
            median_time=fields.integer("mediantime", 0, MAX_U32),
            bits=fields.bits("bits"),
            # The first block has none.
            previous=fields.hash("previousblockhash") if fields.has("previousblockhash") else None,
        )


@dataclass(frozen=True, slots=True)
class TemplateTransaction:
    """One transaction of a template: serialised with witness, ids, fee in satoshis, its share of the block.

    `sigops` is the cost, legacy operations counting four; `depends` are indices from 0 of earlier ones.
    """

    data: bytes
    txid: bytes
    wtxid: bytes
    fee: int
    sigops: int
    weight: int
    depends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeTemplate:
    """getblocktemplate: the next block as the node would make it, but for its coinbase; value in satoshis."""

    previous: bytes
    height: int
    version: int
    bits: int
    value: int
    time: int
    min_time: int
    transactions: tuple[TemplateTransaction, ...]
    weight_limit: int
    sigop_limit: int
    long_poll_id: str

    @property
    def fees(self) -> int:
        """Satoshis that the transactions pay."""
        return sum(transaction.fee for transaction in self.transactions)

    @classmethod
    def parse(cls, answer: Any) -> "NodeTemplate":
        """Reads the answer; raises NodeMalformed."""
        fields = _Fields("getblocktemplate", answer)
        listed = fields.get("transactions", list)
        if len(listed) > _MAX_TRANSACTIONS:
            raise fields.malformed("transactions")
        template = cls(
            previous=fields.hash("previousblockhash"),
            height=fields.integer("height", 1, MAX_U32),
            version=fields.integer("version", -(1 << 31), MAX_U32) & MAX_U32,
            bits=fields.bits("bits"),
            value=fields.integer("coinbasevalue", 0, MAX_MONEY),
            time=fields.integer("curtime", 0, MAX_U32),
            min_time=fields.integer("mintime", 0, MAX_U32),
            transactions=tuple(_transaction(place, each) for place, each in enumerate(listed)),
            weight_limit=fields.integer("weightlimit", 0, MAX_U32),
            sigop_limit=fields.integer("sigoplimit", 0, MAX_U32),
            long_poll_id=fields.get("longpollid", str),
        )
        if template.fees > template.value:
            raise fields.malformed("coinbasevalue")
        try:
            from_bits(template.bits)
        except TargetError as error:
            raise fields.malformed("bits") from error
        return template


def _transaction(place: int, answer: Any) -> TemplateTransaction:
    fields = _Fields(f"getblocktemplate, transaction {place}", answer)
    depends = fields.get("depends", list)
    if not all(isinstance(each, int) and 1 <= each <= place for each in depends):
        raise fields.malformed("depends")
    return TemplateTransaction(
        data=fields.data("data", fields.get("data", str)),
        txid=fields.hash("txid"),
        wtxid=fields.hash("hash"),
        fee=fields.integer("fee", -MAX_MONEY, MAX_MONEY),
        sigops=fields.integer("sigops", 0, MAX_U32),
        weight=fields.integer("weight", 1, MAX_U32),
        depends=tuple(each - 1 for each in depends),
    )


def parse_hash(method: str, answer: Any) -> bytes:
    """A block hash in internal order; raises NodeMalformed."""
    fields = _Fields(method, {"result": answer})
    return fields.hash("result")


def parse_data(method: str, answer: Any) -> bytes:
    """Bytes that came as hex; raises NodeMalformed."""
    fields = _Fields(method, {"result": answer})
    return fields.data("result", fields.get("result", str))


def parse_verdict(answer: Any) -> str | None:
    """submitblock's BIP22 word, None for an accepted block; raises NodeMalformed."""
    if answer is not None and not isinstance(answer, str):
        raise NodeMalformed("the answer to submitblock is neither null nor text")
    return answer
