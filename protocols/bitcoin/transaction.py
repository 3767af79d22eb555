"""Transactions: parsing, serialisation, ids, weight and signature operations (BIP141, BIP144)."""

from dataclasses import dataclass
from functools import cached_property

from protocols.bitcoin.encoding import ByteReader, compact_size, sized
from protocols.bitcoin.errors import EncodingError
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.script import legacy_sigops

WITNESS_SCALE = 4
NULL_INDEX = 0xFFFFFFFF
FINAL_SEQUENCE = 0xFFFFFFFF

_LEAST_INPUT = 41
_LEAST_OUTPUT = 9
_SEGWIT_FLAG = 1


@dataclass(frozen=True, slots=True)
class TxIn:
    """An input: the output it spends (txid in internal order and index), its script and sequence."""

    txid: bytes
    index: int
    script: bytes = b""
    sequence: int = FINAL_SEQUENCE

    def serialize(self) -> bytes:
        """41 bytes or more."""
        return (
            self.txid
            + self.index.to_bytes(4, "little")
            + sized(self.script)
            + self.sequence.to_bytes(4, "little")
        )


@dataclass(frozen=True, slots=True)
class TxOut:
    """An output: value in satoshis and script."""

    value: int
    script: bytes

    def serialize(self) -> bytes:
        """9 bytes or more."""
        return self.value.to_bytes(8, "little") + sized(self.script)


@dataclass(frozen=True)
class Transaction:
    """A transaction; `witnesses` is empty or has one stack of items an input.

    Version and locktime are unsigned 32-bit integers. Ids are 32 bytes in internal order.
    """

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    witnesses: tuple[tuple[bytes, ...], ...] = ()
    locktime: int = 0

    def serialize(self) -> bytes:
        """Consensus bytes, with witness when there is one (BIP144)."""
        if not any(self.witnesses):
            return self.stripped
        witness = b"".join(
            compact_size(len(stack)) + b"".join(sized(item) for item in stack) for stack in self.witnesses
        )
        body = self.stripped
        return body[:4] + b"\x00\x01" + body[4:-4] + witness + body[-4:]

    @cached_property
    def stripped(self) -> bytes:
        """Consensus bytes without witness."""
        return b"".join(
            (
                self.version.to_bytes(4, "little"),
                compact_size(len(self.inputs)),
                *(each.serialize() for each in self.inputs),
                compact_size(len(self.outputs)),
                *(each.serialize() for each in self.outputs),
                self.locktime.to_bytes(4, "little"),
            )
        )

    @cached_property
    def txid(self) -> bytes:
        """Hash without witness."""
        return sha256d(self.stripped)

    @cached_property
    def wtxid(self) -> bytes:
        """Hash with witness; equal to txid where there is none."""
        return sha256d(self.serialize())

    @property
    def weight(self) -> int:
        """Weight units: three times the stripped size plus the whole size (BIP141)."""
        return len(self.stripped) * (WITNESS_SCALE - 1) + len(self.serialize())

    @property
    def legacy_sigops(self) -> int:
        """Signature operations in input and output scripts; each costs four of a block's 80,000."""
        scripts = [each.script for each in self.inputs] + [each.script for each in self.outputs]
        return sum(map(legacy_sigops, scripts))

    @property
    def is_coinbase(self) -> bool:
        """Whether the only input spends nothing."""
        return len(self.inputs) == 1 and self.inputs[0].index == NULL_INDEX and not any(self.inputs[0].txid)

    @classmethod
    def parse(cls, data: bytes) -> "Transaction":
        """The transaction that is all of `data`; raises EncodingError."""
        reader = ByteReader(data)
        transaction = cls.read(reader)
        reader.finish()
        return transaction

    @classmethod
    def read(cls, reader: ByteReader) -> "Transaction":
        """The next transaction of a block; raises EncodingError."""
        version = reader.u32()
        has_witness = reader.peek(1) == b"\x00"
        if has_witness and reader.read(2)[1] != _SEGWIT_FLAG:
            raise EncodingError("a transaction without inputs, or with an unknown flag")
        inputs = tuple(_read_input(reader) for _ in range(reader.count(_LEAST_INPUT)))
        outputs = tuple(_read_output(reader) for _ in range(reader.count(_LEAST_OUTPUT)))
        witnesses = tuple(_read_stack(reader) for _ in inputs) if has_witness else ()
        if not inputs or (has_witness and not any(witnesses)):
            raise EncodingError("a transaction without inputs, or with an empty witness")
        return cls(version, inputs, outputs, witnesses, reader.u32())


def _read_input(reader: ByteReader) -> TxIn:
    return TxIn(reader.read(32), reader.u32(), reader.sized(), reader.u32())


def _read_output(reader: ByteReader) -> TxOut:
    return TxOut(reader.u64(), reader.sized())


def _read_stack(reader: ByteReader) -> tuple[bytes, ...]:
    return tuple(reader.sized() for _ in range(reader.count(1)))
