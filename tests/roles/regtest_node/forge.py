"""Blocks and signed transactions to order, good ones and ones that are wrong in one way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from protocols.bitcoin.coinbase import height_push
from protocols.bitcoin.encoding import sized
from protocols.bitcoin.hashing import sha256, tagged_hash
from protocols.bitcoin.header import Header, serialize_block
from protocols.bitcoin.merkle import (
    WITNESS_RESERVED,
    commitment_script,
    merkle_root,
    witness_commitment,
)
from protocols.bitcoin.networks import Network, subsidy
from protocols.bitcoin.script import witness_program
from protocols.bitcoin.secp256k1 import public_key, schnorr_sign, xonly
from protocols.bitcoin.target import from_bits, meets
from protocols.bitcoin.transaction import NULL_INDEX, Transaction, TxIn, TxOut
from roles.regtest_node.chain import header_of
from roles.regtest_node.chainstate import Chainstate
from roles.regtest_node.directory import ChainDirectory
from roles.regtest_node.kernel import Entry, Kernel
from roles.regtest_node.utxo import Outpoint

COIN = 100_000_000
SECRET = sha256(b"a miner of the tests")
SCRIPT = witness_program(1, xonly(public_key(SECRET)))


class Clock:
    """A clock that tests move."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Held:
    """An output that the tests can spend."""

    outpoint: Outpoint
    value: int


@dataclass(frozen=True)
class BlockPlan:
    """How a block departs from a good one."""

    transactions: tuple[Transaction, ...] = ()
    time: int | None = None
    version: int = 0x20000000
    bits: int | None = None
    height: int | None = None
    reward: int | None = None
    fees: int = 0
    tag: bytes = b""
    committed: bool = True
    commitment: bytes | None = None
    witness: bool = True
    root: bytes | None = None
    worked: bool = True
    extra_outputs: tuple[TxOut, ...] = ()
    locktime: int = 0


class Forge:
    """A chainstate in a directory, and blocks and transactions for it."""

    def __init__(self, state: Path, clock: Clock) -> None:
        self.path = state
        self.clock = clock
        self.tips: list[bytes] = []
        self.state = self._opened()

    def _opened(self) -> Chainstate:
        directory = ChainDirectory(self.path)
        return Chainstate(
            directory,
            Kernel(directory.chain),
            self.clock,
            lambda tip: self.tips.append(tip.hash),
            mempool_limit=1_000,
            checkpoint_blocks=1_000,
        )

    def reopen(self) -> None:
        """A clean stop and a start."""
        self.state.close()
        self.state = self._opened()

    def block(self, plan: BlockPlan = BlockPlan(), parent: Entry | None = None) -> bytes:
        """A block on a parent (the tip), with work, not submitted."""
        parent = parent or self.state.tip
        coinbase = self.coinbase(plan, parent)
        transactions = (coinbase, *plan.transactions)
        least = self.state.chain.median_time(parent) + 1
        header = Header(
            plan.version,
            parent.hash,
            plan.root or merkle_root([each.txid for each in transactions]),
            max(int(self.clock()), least) if plan.time is None else plan.time,
            header_of(parent).bits if plan.bits is None else plan.bits,
            0,
        )
        target = from_bits(header_of(parent).bits)
        while meets(header.hash(), target) is not plan.worked:
            header = replace(header, nonce=header.nonce + 1)
        return serialize_block(
            header.pack(), coinbase.serialize(), [each.serialize() for each in plan.transactions]
        )

    def coinbase(self, plan: BlockPlan, parent: Entry) -> Transaction:
        height = parent.height + 1 if plan.height is None else plan.height
        value = (
            subsidy(parent.height + 1, Network.REGTEST) + plan.fees if plan.reward is None else plan.reward
        )
        outputs = [TxOut(value, SCRIPT), *plan.extra_outputs]
        if plan.committed:
            commitment = plan.commitment or witness_commitment([each.wtxid for each in plan.transactions])
            outputs.append(TxOut(0, commitment_script(commitment)))
        return Transaction(
            2,
            (TxIn(bytes(32), NULL_INDEX, height_push(height) + b"\x04test" + plan.tag),),
            tuple(outputs),
            ((WITNESS_RESERVED,),) if plan.committed and plan.witness else (),
            plan.locktime,
        )

    def mine(self, count: int = 1, plan: BlockPlan = BlockPlan(), parent: Entry | None = None) -> Entry:
        """Extends the chain from a parent (the tip) and returns the last block."""
        entry = parent or self.state.tip
        for _ in range(count):
            raw = self.block(plan, entry)
            answer = self.state.submit(raw)
            assert answer in {None, "inconclusive"}, answer
            found = self.state.kernel.find(Header.parse(raw[:80]).hash())
            assert found is not None
            entry, plan = found, replace(plan, transactions=(), fees=0)
        return entry

    def coin_of(self, entry: Entry) -> Held:
        """The reward of a block that the forge has mined."""
        coinbase = self.state.transactions(entry)[0]
        return Held(Outpoint(coinbase.txid, 0), coinbase.outputs[0].value)

    def mature(self, count: int = 1) -> list[Held]:
        """Coins that can be spent in the next block."""
        first = self.state.tip.height + 1
        self.mine(99 + count)
        return [self.coin_of(self.state.kernel.at(first + number)) for number in range(count)]


def spend(
    *coins: Held,
    fee: int = 1_000,
    outputs: Sequence[TxOut] | None = None,
    sequence: int = 0xFFFFFFFD,
    locktime: int = 0,
    version: int = 2,
    spoil: bool = False,
) -> Transaction:
    """A signed transaction that pays everything but the fee back to the tests' key, or to ``outputs``."""
    total = sum(coin.value for coin in coins)
    unsigned = Transaction(
        version,
        tuple(TxIn(coin.outpoint.txid, coin.outpoint.index, b"", sequence) for coin in coins),
        (TxOut(total - fee, SCRIPT),) if outputs is None else tuple(outputs),
        (),
        locktime,
    )
    signatures = [taproot_signature(unsigned, coins, index) for index in range(len(coins))]
    if spoil:
        signatures[0] = signatures[0][:-1] + bytes((signatures[0][-1] ^ 1,))
    return replace(unsigned, witnesses=tuple((each,) for each in signatures))


def output_of(transaction: Transaction, index: int = 0) -> Held:
    """An output of the tests' own as the coin of another transaction."""
    return Held(Outpoint(transaction.txid, index), transaction.outputs[index].value)


def taproot_signature(transaction: Transaction, coins: Sequence[Held], index: int) -> bytes:
    """The signature of a key path spend over everything (BIP341)."""
    inputs = transaction.inputs
    message = b"".join(
        (
            b"\x00\x00",
            transaction.version.to_bytes(4, "little"),
            transaction.locktime.to_bytes(4, "little"),
            sha256(b"".join(each.txid + each.index.to_bytes(4, "little") for each in inputs)),
            sha256(b"".join(coin.value.to_bytes(8, "little") for coin in coins)),
            sha256(b"".join(sized(SCRIPT) for _ in coins)),
            sha256(b"".join(each.sequence.to_bytes(4, "little") for each in inputs)),
            sha256(b"".join(each.serialize() for each in transaction.outputs)),
            b"\x00",
            index.to_bytes(4, "little"),
        )
    )
    return schnorr_sign(SECRET, tagged_hash("TapSighash", message), bytes(32))
