"""Quotes of keys that have just worked, where no pool tells of them: the mint is asked soon."""

import asyncio
import logging
from typing import Final

from roles.runtime.errors import StorageError
from roles.wallet.errors import MintDishonest, MintRefused, MintUnreachable
from roles.wallet.identity import Identity
from roles.wallet.key_desk import Owner
from roles.wallet.wallet import Wallet

__all__ = ["Gleaning"]

LOOKS: Final = 2
"""The first may come before the mint has the credit; what none finds is left to the look-up of all keys.
"""
KEYS_PER_SECOND: Final = 50
KEYS: Final = 100_000

_log = logging.getLogger(__name__)


class Gleaning:
    """`worked` says whose; `delay` is how long after, in seconds, so that one question is for many shares."""

    def __init__(self, wallet: Wallet, delay: float) -> None:
        self.delay = delay
        self._wallet = wallet
        self._looks: dict[int, tuple[Identity, int]] = {}
        self._news = asyncio.Event()

    def worked(self, owner: Owner) -> None:
        """A share of this key has gone to the pool; of keys that are not the wallet's nothing is asked."""
        index, looks = owner.key_index, self._looks
        if index is None or len(looks) >= KEYS:
            return
        known = looks.get(index)
        if known is None or known[1] != LOOKS:
            looks[index] = (Identity(index, None, owner.key), LOOKS)
            self._news.set()

    async def run(self) -> None:
        """Look for ever; what fails is left to the look-up of all keys."""
        while True:
            await self._news.wait()
            await asyncio.sleep(self.delay)
            due, self._looks = self._looks, {}
            self._news.clear()
            try:
                found = await self._wallet.discovery.look_up([owner for owner, _ in due.values()])
            except (MintUnreachable, MintRefused, MintDishonest, StorageError) as error:
                _log.debug("the mint is asked again with all keys: %s", error)
                continue
            if found:
                self._wallet.minter.wake()
            for index, (owner, looks) in due.items():
                if looks > 1 and index not in self._looks:
                    self._looks[index] = (owner, looks - 1)
            if self._looks:
                self._news.set()
            await asyncio.sleep(len(due) / KEYS_PER_SECOND)
