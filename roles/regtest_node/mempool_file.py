"""The mempool between two runs: written at a clean stop, read at start, worth nothing more than convenience.

A sequence of records: time (8 bytes), length (4 bytes), transaction; integers little-endian.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from protocols.bitcoin.encoding import ByteReader
from protocols.bitcoin.errors import TruncatedError


@dataclass(frozen=True, slots=True)
class Remembered:
    """A transaction as serialized, and the second in which it first arrived."""

    time: int
    raw: bytes


def write(path: Path, transactions: Iterable[Remembered]) -> None:
    """Replaces the file as a whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    with draft.open("wb") as file:
        for each in transactions:
            file.write(each.time.to_bytes(8, "little") + len(each.raw).to_bytes(4, "little") + each.raw)
    draft.replace(path)


def read(path: Path) -> Iterator[Remembered]:
    """What the file holds, nothing where there is none; a record that is cut off ends it."""
    try:
        reader = ByteReader(path.read_bytes())
    except FileNotFoundError:
        return
    while reader.remaining:
        try:
            yield Remembered(reader.u64(), reader.read(reader.u32()))
        except TruncatedError:
            return
