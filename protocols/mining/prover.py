"""From what a miner changed to the header and its hash, for one job on one tip.

The interface of a prover and its form in Python. The native kernel has another form of the same; whoever
builds jobs is handed one of them (`roles.runtime.kernel` chooses).
"""

from collections.abc import Callable
from hashlib import sha256
from struct import Struct
from typing import Protocol

_HEADER = Struct("<I32s32sIII")


class Prover(Protocol):
    """Headers and hashes of one job; hashes are 32 bytes in internal order, numbers are U32.

    Numbers that do not fit are the caller's fault: OverflowError or struct.error.
    """

    def prove(self, extranonce: bytes, version: int, ntime: int, nonce: int, /) -> tuple[bytes, bytes]:
        """The header, 80 bytes, around a full extranonce, and its hash."""
        ...

    def prove_root(self, root: bytes, version: int, ntime: int, nonce: int, /) -> tuple[bytes, bytes]:
        """The same where the merkle root is known, as on standard channels."""
        ...

    def root(self, extranonce: bytes, /) -> bytes:
        """The merkle root around a full extranonce."""
        ...


ProverMaker = Callable[[bytes, bytes, tuple[bytes, ...], bytes, int], Prover]
"""Makes the prover of a job: coinbase before and after the extranonce, without BIP141 bytes; merkle path;
previous hash; nbits.

A prover copies all of it, so that one of them belongs to a job and not to a channel.
"""


class PythonProver:
    """A prover by hashlib.

    Midstates, copies of hash objects and bound constructors were measured: none gains anything over this.
    """

    __slots__ = ("_bits", "_path", "_prefix", "_previous", "_suffix")

    def __init__(
        self, prefix: bytes, suffix: bytes, path: tuple[bytes, ...], previous: bytes, bits: int
    ) -> None:
        if len(previous) != 32 or any(len(node) != 32 for node in path):
            raise ValueError("hashes have 32 bytes")
        self._prefix = prefix
        self._suffix = suffix
        self._path = path
        self._previous = previous
        self._bits = bits

    def prove(self, extranonce: bytes, version: int, ntime: int, nonce: int, /) -> tuple[bytes, bytes]:
        root = sha256(sha256(self._prefix + extranonce + self._suffix).digest()).digest()
        for node in self._path:
            root = sha256(sha256(root + node).digest()).digest()
        header = _HEADER.pack(version, self._previous, root, ntime, self._bits, nonce)
        return header, sha256(sha256(header).digest()).digest()

    def prove_root(self, root: bytes, version: int, ntime: int, nonce: int, /) -> tuple[bytes, bytes]:
        header = _HEADER.pack(version, self._previous, root, ntime, self._bits, nonce)
        return header, sha256(sha256(header).digest()).digest()

    def root(self, extranonce: bytes, /) -> bytes:
        root = sha256(sha256(self._prefix + extranonce + self._suffix).digest()).digest()
        for node in self._path:
            root = sha256(sha256(root + node).digest()).digest()
        return root
