"""Merkle trees of a block: root, path of the coinbase, witness commitment. Hashes in internal order."""

from collections.abc import Sequence

from protocols.bitcoin.errors import EncodingError
from protocols.bitcoin.hashing import HASH_SIZE, sha256d
from protocols.bitcoin.script import OP_RETURN

WITNESS_RESERVED = bytes(32)
COMMITMENT_MAGIC = bytes.fromhex("aa21a9ed")


def _next_level(hashes: Sequence[bytes]) -> list[bytes]:
    pairs = [*hashes, hashes[-1]] if len(hashes) % 2 else hashes
    return [sha256d(pairs[i] + pairs[i + 1]) for i in range(0, len(pairs), 2)]


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over one leaf or more; raises EncodingError when there is none."""
    if not leaves:
        raise EncodingError("a merkle tree has at least one leaf")
    level = leaves
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def merkle_path(txids: Sequence[bytes]) -> tuple[bytes, ...]:
    """The siblings of the coinbase, deepest first; `txids` are the block's other transactions in order."""
    path = []
    # The coinbase's own branch is unknown: a placeholder stands at the front of every level.
    level = [bytes(HASH_SIZE), *txids]
    while len(level) > 1:
        path.append(level[1])
        level = [bytes(HASH_SIZE), *_next_level(level)[1:]]
    return tuple(path)


def root_from_path(txid: bytes, path: Sequence[bytes]) -> bytes:
    """The merkle root of a block whose coinbase has `txid`, folding `path` from the deepest sibling up."""
    root = txid
    for sibling in path:
        root = sha256d(root + sibling)
    return root


def witness_commitment(wtxids: Sequence[bytes], reserved: bytes = WITNESS_RESERVED) -> bytes:
    """BIP141 commitment, 32 bytes, to the witnesses of all transactions but the coinbase, in block order."""
    return sha256d(merkle_root([bytes(HASH_SIZE), *wtxids]) + reserved)


def commitment_script(commitment: bytes) -> bytes:
    """The 38-byte output script that carries a witness commitment (BIP141)."""
    return bytes((OP_RETURN, len(COMMITMENT_MAGIC) + HASH_SIZE)) + COMMITMENT_MAGIC + commitment
