"""The blocks that the kernel's indexes do not know yet.

The kernel writes blocks at once but its indexes only when it closes: after a crash it goes back to where it
last closed, and overwrites what came since. Making its indexes anew from its block files would take a second
for some 500 blocks of the whole chain. So every new block is also written here before it is answered, and
given to the kernel again at the next start; now and then the kernel is closed and opened, and this file
emptied.

Records of length (4 bytes, little-endian) and block. What is cut off at the end was never answered.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from roles.regtest_node.errors import KernelFault

_LENGTH = 4


class Journal:
    """An append-only file of blocks; raises KernelFault when it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.count = 0
        self.size = 0

    def replay(self) -> Iterator[bytes]:
        """The blocks in the order in which they came; afterwards new ones are appended."""
        while True:
            record = os.pread(self._file, _LENGTH, self.size)
            length = int.from_bytes(record, "little")
            block = os.pread(self._file, length, self.size + _LENGTH)
            if len(record) < _LENGTH or len(block) < length:
                os.ftruncate(self._file, self.size)
                return
            yield block
            self.count += 1
            self.size += _LENGTH + length

    def append(self, block: bytes) -> None:
        """Writes a block: a crash of this process can no longer lose it."""
        record = len(block).to_bytes(_LENGTH, "little") + block
        try:
            written = os.pwrite(self._file, record, self.size)
        except OSError as error:
            raise KernelFault(f"a block cannot be written: {error.strerror}") from error
        if written < len(record):
            raise KernelFault("a block cannot be written: the disk is full")
        self.count += 1
        self.size += len(record)

    def clear(self) -> None:
        """Forgets all blocks: the kernel's indexes hold them."""
        os.ftruncate(self._file, 0)
        self.count = self.size = 0

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
