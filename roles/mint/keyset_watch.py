"""Keysets that were made elsewhere: by another process of this mint, or by a write whose caller has left."""

import asyncio
import logging
import time
from collections.abc import Callable, Set
from functools import partial

from roles.mint import keyset_rows
from roles.mint.keysets import KeysetBook
from roles.mint.seed import MintSeed
from roles.runtime.errors import StorageError
from roles.runtime.storage import Database

PAUSE_S = 0.25
"""Between two looks into the store, whoever asks: no crowd that names keysets at random makes it busy."""
FOLLOW_S = 5.0
"""How often the store is looked at unasked, for keysets that sign no more."""

_log = logging.getLogger(__name__)


class KeysetWatch:
    """Keeps a book as the store is."""

    def __init__(
        self,
        book: KeysetBook,
        database: Database,
        seed: MintSeed,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.book = book
        self._database = database
        self._seed = seed
        self._clock = clock
        self._pause_s = pause_s
        self._looked = clock() - pause_s
        self.looks = 0
        """How often the store was asked."""
        self._looking: asyncio.Task[None] | None = None

    async def seek(self, unknown: Set[str]) -> None:
        """Look into the store for keysets that are not in the book; they may be unknown there, too.

        A store that cannot be read now leaves the book as it is. Raises KeysetMismatchError.
        """
        # A look that has begun already may have missed what was stored before this request came.
        for _ in range(2):
            if all(keyset_id in self.book for keyset_id in unknown):
                return
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
                self._looking.add_done_callback(self._looked_once)
            await asyncio.shield(self._looking)

    async def run(self) -> None:
        """Look every few seconds, until cancelled; raises KeysetMismatchError."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            await self.refresh(everything=True)

    async def refresh(self, *, everything: bool = False) -> None:
        """Bring the book up to date: newer keysets, and with `everything` changes of older ones."""
        book = self.book
        self.looks += 1
        try:
            news = await self._database.read(
                partial(keyset_rows.news, seed=self._seed, book=book, everything=everything)
            )
        except StorageError as error:
            _log.warning("keysets cannot be looked for: %s", error)
            return
        for keyset in news:
            book.add(keyset)

    async def _look(self) -> None:
        wait = self._looked + self._pause_s - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)
        self._looked = self._clock()
        await self.refresh()

    def _looked_once(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            # Whoever waited has it; nobody may be left.
            task.exception()
