"""Whose work it is: the locking key that a miner names, else the wallet's own for the miner's name."""

import asyncio
from dataclasses import dataclass

from roles.wallet.wallet import Wallet

__all__ = ["KeyDesk", "Owner"]

LOOKUPS = 32
"""Names that the wallet is asked for at once: what comes of one commit is then done in one short turn."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A locking key, 33 bytes, and its index in the wallet; None for a key that somebody else holds."""

    key: bytes
    key_index: int | None


class KeyDesk:
    """Asks the wallet; `default` is the name of a miner that names none."""

    def __init__(self, wallet: Wallet, default: str) -> None:
        self.default = default
        self._wallet = wallet
        self._room = asyncio.Semaphore(LOOKUPS)

    async def owner(self, user: str, key: bytes | None) -> Owner:
        """The owner of a miner's work, by the key that it has brought along, if any.

        Raises IdentityLimitError when the wallet keeps no more keys, StorageError when a new one cannot be
        stored.
        """
        async with self._room:
            if key is not None:
                found = await self._wallet.owner_of(key)
                return Owner(key, found.key_index if found else None)
            own = await self._wallet.key_for(user or self.default)
        return Owner(own.public_key, own.key_index)
