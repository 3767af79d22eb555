"""Extranonce prefixes: one for each channel, and none twice within a tip.

The full extranonce has 20 bytes on every channel of a pool, so that one channel's can never be nested in
another's: a server id of 1 byte, a counter of 3 bytes big-endian, and 16 bytes which an extended channel
rolls and which are zero on a standard one.
"""

from protocols.mining.errors import CapacityExhausted

SERVER_ID_SIZE = 1
COUNTER_SIZE = 3
PREFIX_SIZE = SERVER_ID_SIZE + COUNTER_SIZE
ROLLABLE_SIZE = 16
FULL_SIZE = PREFIX_SIZE + ROLLABLE_SIZE
COUNTERS = 1 << 8 * COUNTER_SIZE


class PrefixAllocator:
    """Grants prefixes in the order of a counter that only grows.

    `position` is the next counter value (unbounded; the prefix holds it modulo 2^24), `tip_position` the
    value at which the present tip began. Values below `reserved` are the caller's to grant without storing
    anything: it stores a higher reservation before it calls `reserve`, so that a restart goes on behind it.
    """

    def __init__(self, server_id: int, *, position: int, tip_position: int, reserved: int) -> None:
        if not 0 <= server_id < 1 << 8 * SERVER_ID_SIZE:
            raise ValueError(f"a server id has one byte, {server_id} does not fit")
        self.server_id = server_id
        self.position = position
        self.tip_position = tip_position
        self.reserved = reserved
        # A dict of many takes a third of the memory of a set.
        self._live: dict[bytes, None] = {}

    @property
    def granted(self) -> int:
        """How many prefixes are in use."""
        return len(self._live)

    @property
    def available(self) -> int:
        """How many counter values are left of the reservation."""
        return self.reserved - self.position

    def reserve(self, limit: int) -> None:
        """Allow counter values below `limit`, once they are stored as reserved."""
        self.reserved = max(self.reserved, limit)

    def new_tip(self) -> None:
        """All prefixes but those in use may be granted again."""
        self.tip_position = self.position

    def grant(self) -> bytes:
        """The 4-byte prefix of a new channel.

        Raises CapacityExhausted when the reservation is used up, or all 2^24 prefixes within this tip.
        """
        while self.position < self.reserved and self.position - self.tip_position < COUNTERS:
            prefix = bytes((self.server_id,)) + (self.position % COUNTERS).to_bytes(COUNTER_SIZE, "big")
            self.position += 1
            if prefix not in self._live:
                self._live[prefix] = None
                return prefix
        raise CapacityExhausted("no extranonce prefix is left")

    def release(self, prefix: bytes) -> None:
        """The channel that had `prefix` is closed; the prefix rests until a later tip."""
        self._live.pop(prefix, None)

    def reclaim(self, prefix: bytes) -> None:
        """The channel that had `prefix` is open again, within the tip: it is in use."""
        self._live[prefix] = None


def counter_of(prefix: bytes) -> int:
    """The counter in a prefix, below 2^24."""
    return int.from_bytes(prefix[SERVER_ID_SIZE:PREFIX_SIZE], "big")


def standard_extranonce(prefix: bytes) -> bytes:
    """The whole extranonce of a standard channel: its prefix and zeros, 20 bytes."""
    return prefix.ljust(FULL_SIZE, b"\0")
