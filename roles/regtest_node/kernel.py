"""Bitcoin Core's consensus engine, wrapped: bytes in, bytes and plain records out.

The only module that knows ``pbk``. Its C++ side ends the whole process on misuse (an input index out of
range, a wrong number of spent outputs, a handle used after close), so every call checks its arguments first;
it also ends the process when a block cannot be written. All calls of one `Kernel` belong on one thread.
Hashes are 32 bytes in internal order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pbk
from pbk.script import PrecomputedTransactionData

from roles.regtest_node.errors import KernelFault, UndecodableBlock, UndecodableTransaction

# The validation state holds a coarse enum only; the reason stands in this debug line, before its details.
_VERDICT_LINE: Final = re.compile(
    r"BlockChecked: block hash=([0-9a-f]{64}) state=(.+?)(?:, |$)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A block of the block tree, on the active chain or not."""

    hash: bytes
    height: int
    header: bytes
    handle: Any = field(repr=False, compare=False)
    opened: int = field(repr=False, compare=False)
    """The opening of the kernel whose memory the handle points into."""


@dataclass(frozen=True, slots=True)
class SpentOutput:
    """An output that a block spent, from its undo data: value in satoshi, script, height, origin."""

    value: int
    script: bytes
    height: int
    coinbase: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the kernel made of a block.

    ``stored``: it was not known before and is kept now. ``refused``: it was not kept. ``checked``: validity
    was decided. ``reason``: BIP22's reject reason where it was found invalid.
    """

    stored: bool
    refused: bool
    checked: bool
    reason: str | None

    def bip22(self) -> str | None:
        """The answer of bitcoind's submitblock: None for a valid block, else a word of BIP22."""
        if not self.stored and not self.refused:
            return "duplicate"
        return self.reason if self.checked else "inconclusive"


class Kernel:
    """One regtest chainstate in a directory that no other process may have open.

    Raises KernelFault where the chainstate cannot be opened or read.
    """

    def __init__(self, directory: Path) -> None:
        """Prepares for `open`."""
        self._directory = directory
        self._openings = 0
        self._manager: Any = None
        self._chain: Any = None
        self._verdicts: dict[str, str] = {}
        self._lines: list[str] = []
        self._logging: Any = pbk.LoggingConnection(self._on_log)
        pbk.set_log_level_category(pbk.LogCategory.ALL, pbk.LogLevel.DEBUG)
        pbk.enable_log_category(pbk.LogCategory.VALIDATION)
        # Without a callback the engine makes no verdicts known, not even in the log.
        callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._on_checked)
        self._parameters = pbk.ChainParameters(pbk.ChainType.REGTEST)
        self._context = pbk.make_context(pbk.ChainType.REGTEST, callbacks)
        self._interrupted = False
        self._undecided = False

    def open(self, *, rebuild: bool = False) -> None:
        """Loads the chain of the last clean close; ``rebuild`` makes all indexes anew from the block files.

        The first takes some 10 µs a block, the second 2 ms. Raises KernelFault.
        """
        directory = self._directory
        try:
            options = pbk.ChainstateManagerOptions(self._context, str(directory), str(directory / "blocks"))
            options.set_worker_threads_num(0)
            if rebuild:
                options.set_wipe_dbs(True, True)
            self._manager = pbk.ChainstateManager(options)
        except RuntimeError as error:
            raise KernelFault(
                f"the chain in {directory} cannot be opened: {self._last_error()}",
                hint="remove the directory to start a new chain",
            ) from error
        # Its documentation says true for success, but it hands on the engine's code, where 0 is success.
        failed = rebuild and self._manager.import_blocks([]) != 0
        if self._interrupted:
            raise KernelFault("loading the chain was interrupted")
        if failed:
            raise KernelFault(f"the block files in {directory} cannot be read again: {self._last_error()}")
        self._chain = self._manager.get_active_chain()
        self._openings += 1
        self._lines.clear()

    def interrupt(self) -> None:
        """Makes `open` give up soon; may be called from any thread."""
        self._interrupted = True
        self._context.interrupt()

    @property
    def is_interrupted(self) -> bool:
        """Whether `open` has been told to give up."""
        return self._interrupted

    def close(self) -> bool:
        """Flushes everything to disk and lets go of the directory; whether that was done without complaint.

        A second call does nothing and returns False.
        """
        clean = self._flush()
        logging, self._logging = self._logging, None
        if logging is not None:
            logging.__exit__(None, None, None)
        return clean

    def reopen(self) -> bool:
        """Closes and opens, which alone brings the indexes up to date; whether that went without complaint.

        Takes 30 to 500 ms. Raises KernelFault.
        """
        clean = self._flush()
        self.open()
        return clean

    def tip(self) -> Entry:
        """The last block of the active chain."""
        return self.at(self._alive(self._chain).height)

    def best_header(self) -> Entry:
        """The known header with the most work behind it."""
        return self._entry(self._alive(self._manager).best_entry)

    def at(self, height: int) -> Entry:
        """The active chain's block at a height; raises IndexError beyond the tip."""
        if height < 0:
            raise IndexError(f"no block at height {height}")
        return self._entry(self._alive(self._chain).block_tree_entries[height])

    def find(self, block_hash: bytes) -> Entry | None:
        """A known block, whether on the active chain, beside it, or invalid."""
        entries = self._alive(self._manager).block_tree_entries
        try:
            return self._entry(entries[pbk.BlockHash(block_hash)])
        except KeyError:
            return None

    def parent(self, entry: Entry) -> Entry:
        """The block before; raises IndexError for the genesis block."""
        return self.ancestor(entry, entry.height - 1)

    def ancestor(self, entry: Entry, height: int) -> Entry:
        """The block at a height on the branch that ends with ``entry``; raises IndexError beyond it."""
        if not 0 <= height <= entry.height:
            raise IndexError(f"no ancestor at height {height}")
        return self._entry(self._handle(entry).get_ancestor(height))

    def is_active(self, entry: Entry) -> bool:
        """Whether a block is part of the active chain."""
        return self._handle(entry) in self._alive(self._chain).block_tree_entries

    def block(self, entry: Entry) -> bytes | None:
        """A block as serialized, or None where only its header is known."""
        try:
            return bytes(self._alive(self._manager).blocks[self._handle(entry)])
        except RuntimeError:
            return None

    def spent(self, entry: Entry) -> list[list[SpentOutput]]:
        """The outputs that a connected block spent, for each of its transactions but the coinbase."""
        if entry.height == 0:
            return []
        try:
            undo = self._alive(self._manager).block_spent_outputs[self._handle(entry)]
        except RuntimeError as error:
            raise KernelFault(f"the undo data of block {entry.height} cannot be read") from error
        return [
            [
                SpentOutput(
                    coin.output.amount,
                    bytes(coin.output.script_pubkey),
                    coin.confirmation_height,
                    coin.is_coinbase,
                )
                for coin in transaction.coins
            ]
            for transaction in undo.transactions
        ]

    def submit(self, raw: bytes) -> Verdict:
        """Validates a block and keeps it; raises UndecodableBlock for what is none."""
        manager = self._alive(self._manager)
        block = _parse_block(raw)
        name = str(block.block_hash)
        self._verdicts.clear()
        self._lines.clear()
        self._undecided = False
        try:
            stored, refused = manager.process_block(block), False
        except pbk.ProcessBlockException:
            stored, refused = False, True
        if self._undecided:
            raise KernelFault(f"a block could not be judged: {self._last_error()}")
        state = self._verdicts.get(name)
        # An engine that refuses without a word is answered as bitcoind answers an empty reason.
        reason = None if state == "Valid" else (state or ("rejected" if refused else None))
        return Verdict(stored, refused, state is not None or refused, reason)

    def is_well_formed(self, raw: bytes) -> bool:
        """Whether a block passes the checks that need neither chain nor work; raises UndecodableBlock."""
        self._alive(self._manager)
        state = _parse_block(raw).check(self._parameters.consensus_params, pbk.BlockCheckFlags.MERKLE)
        return bool(state.validation_mode == pbk.ValidationMode.VALID)

    def failing_input(self, raw: bytes, spent: Sequence[tuple[int, bytes]]) -> int | None:
        """The first input whose script fails under all consensus flags, or None.

        ``spent`` holds value and script of each input's output, in order. Raises UndecodableTransaction for
        bytes that are not exactly one transaction, ValueError where the numbers of inputs and outputs differ.
        """
        self._alive(self._manager)
        try:
            transaction = pbk.Transaction(raw)
        except RuntimeError as error:
            raise UndecodableTransaction("not a transaction") from error
        if bytes(transaction) != raw:
            raise UndecodableTransaction("bytes after the transaction")
        if len(transaction.inputs) != len(spent):
            raise ValueError(f"{len(transaction.inputs)} inputs, {len(spent)} outputs to spend")
        outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(script), value) for value, script in spent]
        precomputed = PrecomputedTransactionData(transaction, outputs)
        for index, (value, script) in enumerate(spent):
            if not pbk.ScriptPubkey(script).verify(
                value, transaction, precomputed, index, pbk.ScriptVerificationFlags.ALL
            ):
                return index
        return None

    def _flush(self) -> bool:
        self._chain = None
        self._lines.clear()
        manager, self._manager = self._manager, None
        if manager is None:
            return False
        manager.__exit__(None, None, None)
        return not self._lines

    def _entry(self, handle: Any) -> Entry:
        header = bytes(handle.block_header)
        return Entry(bytes(handle.block_hash), handle.height, header, handle, self._openings)

    def _handle(self, entry: Entry) -> Any:
        """The engine's own object for a block, looked up anew when it is of an earlier opening."""
        entries = self._alive(self._manager).block_tree_entries
        return entry.handle if entry.opened == self._openings else entries[pbk.BlockHash(entry.hash)]

    def _alive(self, handle: Any) -> Any:
        if handle is None:
            raise KernelFault("the chain is closed")
        return handle

    def _on_checked(self, _data: object, _block: object, state: Any) -> None:
        # Raising here would lead nowhere: the engine's binding swallows it.
        if state.validation_mode == pbk.ValidationMode.INTERNAL_ERROR:
            self._undecided = True

    def _on_log(self, line: str) -> None:
        found = _VERDICT_LINE.search(line)
        if found:
            self._verdicts[found[1]] = found[2]
        elif "error]" in line:
            self._lines.append(line.strip())
            del self._lines[:-20]

    def _last_error(self) -> str:
        return self._lines[-1] if self._lines else "no reason given"


def _parse_block(raw: bytes) -> Any:
    try:
        return pbk.Block(raw)
    except RuntimeError as error:
        raise UndecodableBlock("not a block") from error
