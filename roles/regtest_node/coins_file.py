"""The unspent outputs between two runs, so that a start need not read the whole chain again.

Tip (32 bytes), number of coins (8), then for each txid (32), index (4), height and whether a coinbase made it
(4), value (8), script behind its CompactSize; at the end SHA-256 of all. Integers little-endian. Worth
nothing more than the time it saves: a file that is damaged or of an unknown block is passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from protocols.bitcoin.encoding import ByteReader, sized
from protocols.bitcoin.errors import EncodingError
from protocols.bitcoin.hashing import HASH_SIZE, sha256
from roles.regtest_node.utxo import Coin, Outpoint

_HEAD = Struct("<32sQ")
_COIN = Struct("<32sIIQ")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The unspent outputs after the block ``tip``."""

    tip: bytes
    coins: dict[Outpoint, Coin]


def write(path: Path, tip: bytes, coins: Mapping[Outpoint, Coin]) -> None:
    """Replaces the file as a whole or not at all."""
    parts = [_HEAD.pack(tip, len(coins))]
    for outpoint, coin in coins.items():
        origin = coin.height << 1 | coin.coinbase
        parts += (_COIN.pack(outpoint.txid, outpoint.index, origin, coin.value), sized(coin.script))
    content = b"".join(parts)
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(content + sha256(content))
    draft.replace(path)


def read(path: Path) -> Snapshot | None:
    """What the file holds, or None when there is none or it is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    content = data[:-HASH_SIZE]
    if len(content) < _HEAD.size or sha256(content) != data[-HASH_SIZE:]:
        return None
    try:
        return _parse(content)
    except EncodingError:
        return None


def _parse(content: bytes) -> Snapshot:
    reader = ByteReader(content)
    tip, count = _HEAD.unpack(reader.read(_HEAD.size))
    coins = {}
    for _ in range(count):
        txid, index, origin, value = _COIN.unpack(reader.read(_COIN.size))
        coins[Outpoint(txid, index)] = Coin(value, reader.sized(), origin >> 1, bool(origin & 1))
    reader.finish()
    return Snapshot(tip, coins)
