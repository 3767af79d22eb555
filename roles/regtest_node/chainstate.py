"""The chain, its unspent outputs and the mempool as one: every block moves all three.

All calls belong on one thread.
"""

from collections.abc import Callable, Sequence
from logging import getLogger

from protocols.bitcoin.encoding import ByteReader
from protocols.bitcoin.errors import EncodingError
from protocols.bitcoin.header import HEADER_SIZE, parse_block
from protocols.bitcoin.merkle import COMMITMENT_MAGIC, WITNESS_RESERVED
from protocols.bitcoin.script import OP_RETURN
from protocols.bitcoin.transaction import Transaction
from roles.regtest_node import coins_file, mempool_file
from roles.regtest_node.admission import Admission, Candidate, Position, decode
from roles.regtest_node.chain import Chain, Route, header_of
from roles.regtest_node.directory import ChainDirectory
from roles.regtest_node.errors import KernelFault, TransactionRefused, UndecodableTransaction
from roles.regtest_node.journal import Journal
from roles.regtest_node.kernel import Entry, Kernel
from roles.regtest_node.mempool import Mempool, MempoolEntry
from roles.regtest_node.mempool_file import Remembered
from roles.regtest_node.utxo import UtxoIndex
from roles.runtime import crash

log = getLogger(__name__)

MAX_TIP_AGE = 24 * 3600
MAX_JOURNAL_BYTES = 1 << 26
COMMITMENT_SIZE = 38
_COMMITMENT_START = bytes((OP_RETURN, 0x24)) + COMMITMENT_MAGIC


class Chainstate:
    """A regtest chain in a held directory, opened with the mempool of its last run on top.

    ``clock`` gives seconds since 1970. ``on_tip`` is called after each change of tip, on the calling thread.
    Raises KernelFault where the chain cannot be opened.
    """

    def __init__(
        self,
        directory: ChainDirectory,
        kernel: Kernel,
        clock: Callable[[], float],
        on_tip: Callable[[Entry], None],
        *,
        mempool_limit: int,
        checkpoint_blocks: int,
    ) -> None:
        self.directory = directory
        self.kernel = kernel
        self._clock = clock
        self._on_tip = on_tip
        self._checkpoint_blocks = checkpoint_blocks
        self._caught_up = False
        self.chain = Chain(kernel)
        self.utxo = UtxoIndex()
        self.mempool = Mempool()
        self._admission = Admission(self.utxo, self.mempool, kernel, mempool_limit)
        self._journal = Journal(directory.journal)
        self.tip: Entry
        self.position: Position
        try:
            self._load()
        except BaseException:
            # Nothing is written: what is on disk is as good as after a crash.
            self._journal.close()
            kernel.close()
            raise

    def close(self) -> None:
        """Writes the mempool, the coins and all indexes to disk and lets go of the directory."""
        try:
            waiting = (Remembered(entry.time, entry.raw) for entry in self.mempool)
            mempool_file.write(self.directory.mempool, waiting)
            coins_file.write(self.directory.coins, self.tip.hash, self.utxo.coins)
        finally:
            if self.kernel.close():
                self._journal.clear()
            self._journal.close()
            self.directory.close()

    def abandon(self) -> None:
        """Lets go of the directory after a failure: nothing is written, and what is on disk is as good as
        after a crash.
        """
        self._journal.close()
        self.kernel.close()
        self.directory.close()

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether a crash would by now take noticeable time to mend."""
        return self._journal.count >= self._checkpoint_blocks or self._journal.size >= MAX_JOURNAL_BYTES

    def checkpoint(self) -> None:
        """Brings the indexes on disk up to date, in 30 to 500 ms; raises KernelFault."""
        coins_file.write(self.directory.coins, self.tip.hash, self.utxo.coins)
        crash.at("regtest_node.coins-written")
        if self.kernel.reopen():
            crash.at("regtest_node.indexes-written")
            self._journal.clear()

    @property
    def is_catching_up(self) -> bool:
        """Whether the tip has never been younger than a day since the start."""
        if not self._caught_up:
            self._caught_up = header_of(self.tip).time >= self.now() - MAX_TIP_AGE
        return not self._caught_up

    def now(self) -> int:
        """Whole seconds since 1970."""
        return int(self._clock())

    def transactions(self, entry: Entry) -> tuple[Transaction, ...]:
        """A stored block's transactions; raises KernelFault where only the header is known."""
        raw = self.kernel.block(entry)
        if raw is None:
            raise KernelFault(f"block {entry.height} cannot be read")
        return parse_block(raw)[1]

    def submit(self, raw: bytes) -> str | None:
        """Takes a block; answers None or a word of BIP22. Raises UndecodableBlock.

        A coinbase that commits to witnesses but brings none gets the reserved value of 32 zeros, as in
        bitcoind.
        """
        block = self._completed(raw)
        crash.at("regtest_node.block-received")
        verdict = self.kernel.submit(block)
        if verdict.stored:
            crash.at("regtest_node.block-stored")
            self._journal.append(block)
            crash.at("regtest_node.block-journalled")
        self._follow()
        return verdict.bip22()

    def accept(self, raw: bytes) -> MempoolEntry:
        """Takes a transaction into the mempool; raises UndecodableTransaction and TransactionRefused."""
        candidate = self.examine(decode(raw))
        self.admit(candidate)
        return candidate.entry

    def admit(self, candidate: Candidate) -> None:
        """Takes what `examine` has just found good."""
        self.mempool.remove(candidate.replaced)
        self.mempool.add(candidate.entry)

    def examine(self, transaction: Transaction) -> Candidate:
        """What `accept` would take, taking nothing; raises TransactionRefused."""
        return self._admission.examine(transaction, self.position, now=self.now())

    def _completed(self, raw: bytes) -> bytes:
        reader = ByteReader(raw)
        try:
            previous = reader.read(HEADER_SIZE)[4:36]
            reader.compact_size()
            start = reader.offset
            coinbase = Transaction.read(reader)
        except EncodingError:
            # Not for us to judge: the kernel says whether this is a block.
            return raw
        committed = commitment_of(coinbase) is not None
        if any(coinbase.witnesses) or not committed or self.kernel.find(previous) is None:
            return raw
        witnesses = ((WITNESS_RESERVED,), *((),) * (len(coinbase.inputs) - 1))
        completed = Transaction(
            coinbase.version, coinbase.inputs, coinbase.outputs, witnesses, coinbase.locktime
        )
        return raw[:start] + completed.serialize() + raw[reader.offset :]

    def _follow(self) -> None:
        tip = self.kernel.tip()
        if tip.hash == self.tip.hash:
            return
        route = self.chain.route(self.tip, tip)
        returned = self._move(route)
        self.tip = tip
        self.position = self._next_position()
        if route.disconnected:
            self._readmit(returned)
        self._on_tip(tip)

    def _move(self, route: Route) -> list[Transaction]:
        """Applies a route to the unspent outputs; what disconnected blocks held comes back in order."""
        returned: list[Transaction] = []
        for entry in route.disconnected:
            transactions = self.transactions(entry)
            self.utxo.disconnect(transactions, self.kernel.spent(entry))
            returned[:0] = transactions[1:]
        for entry in route.connected:
            transactions = self.transactions(entry)
            self.utxo.connect(entry.height, transactions)
            if not route.disconnected:
                self.mempool.confirm(transactions)
        return returned

    def _readmit(self, returned: Sequence[Transaction]) -> None:
        """After a reorganisation, what was waiting or confirmed is judged anew."""
        waiting = self.mempool.drain()
        arrivals = [(each, self.now()) for each in returned]
        arrivals += [(each.transaction, each.time) for each in waiting]
        for transaction, time in arrivals:
            try:
                candidate = self._admission.examine(transaction, self.position, now=time, policy=False)
            except TransactionRefused:
                continue
            self.mempool.add(candidate.entry)

    def _load(self) -> None:
        self._open_kernel()
        replayed = 0
        for block in self._journal.replay():
            self.kernel.submit(block)
            crash.at("regtest_node.block-replayed")
            replayed += 1
        if replayed:
            log.info("blocks of the last run were given to the kernel again", extra={"blocks": replayed})
        self._load_coins()
        self.position = self._next_position()
        self._recall_mempool()

    def _open_kernel(self) -> None:
        unfinished = self.directory.rebuilding
        if not unfinished.exists():
            try:
                self.kernel.open()
            except KernelFault as fault:
                if self.kernel.is_interrupted:
                    raise
                log.warning("the chain's indexes are damaged", extra={"reason": fault.text})
            else:
                return
        log.info("the chain's indexes are made anew from its blocks")
        unfinished.touch()
        crash.at("regtest_node.rebuild-marked")
        self.kernel.open(rebuild=True)
        if self.kernel.reopen():
            crash.at("regtest_node.rebuild-done")
            unfinished.unlink()

    def _load_coins(self) -> None:
        self.tip = self.kernel.at(0)
        snapshot = coins_file.read(self.directory.coins)
        known = self.kernel.find(snapshot.tip) if snapshot else None
        if snapshot is not None and known is not None:
            self.utxo.restore(snapshot.coins)
            self.tip = known
        tip = self.kernel.tip()
        self._move(self.chain.route(self.tip, tip))
        self.tip = tip

    def _recall_mempool(self) -> None:
        lost = 0
        for remembered in mempool_file.read(self.directory.mempool):
            try:
                entry = self.accept(remembered.raw)
            except (TransactionRefused, UndecodableTransaction):
                lost += 1
            else:
                entry.time = remembered.time
        if lost:
            log.info("%d transactions of the last run's mempool are confirmed or no longer valid", lost)

    def _next_position(self) -> Position:
        return Position(
            self.tip.height + 1,
            self.chain.median_time(self.tip),
            lambda height: self.chain.median_time(self.kernel.at(height)),
        )


def commitment_of(coinbase: Transaction) -> bytes | None:
    """The witness commitment, 32 bytes, in the last output that has one (BIP141)."""
    for output in reversed(coinbase.outputs):
        if len(output.script) >= COMMITMENT_SIZE and output.script.startswith(_COMMITMENT_START):
            return output.script[len(_COMMITMENT_START) : COMMITMENT_SIZE]
    return None
