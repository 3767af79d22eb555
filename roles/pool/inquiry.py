"""Questions of the keeper to a branch that take a moment: for a page of the miners that it serves."""

import asyncio
import json
from collections.abc import Callable
from typing import Final

from roles.pool.intercom import Garbled, Intercom, Word, pack_json
from roles.stratum.miner_pages import Key, Pages
from roles.stratum.overview import MinerPage

ANSWER_S: Final = 3.0


class Inquiries:
    """The keeper's end, one for each life of a branch."""

    def __init__(self, line: Intercom) -> None:
        self._line = line
        self._open: dict[int, asyncio.Future[MinerPage]] = {}
        self._last = 0

    async def page(self, after: Key, limit: int) -> MinerPage:
        """At most so many miners behind a key; raises TimeoutError where the branch is not quick enough."""
        self._last += 1
        number = self._last
        answer: asyncio.Future[MinerPage] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            self._line.say(Word.MINERS_WANTED, pack_json([number, after, limit]))
            async with asyncio.timeout(ANSWER_S):
                return await answer
        finally:
            del self._open[number]

    def answered(self, payload: bytes) -> None:
        """The branch answers; what nobody waits for any more is passed over. Raises Garbled."""
        number, page = json.loads(payload)
        waiting = self._open.get(number)
        if waiting is not None and not waiting.done():
            try:
                waiting.set_result(MinerPage.model_validate(page, strict=False))
            except ValueError as error:
                raise Garbled(f"a page of miners that is none: {error}") from error

    def close(self) -> None:
        """The branch is gone: it has no miners any more."""
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_result(MinerPage(miners=[], next=None, total=0))


class Clerk:
    """The branch's end: answers from its own pages."""

    def __init__(self, say: Callable[[Word, bytes], None], pages: Pages) -> None:
        self._say = say
        self._pages = pages
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, payload: bytes) -> None:
        """Answer soon."""
        task = asyncio.get_running_loop().create_task(self._answer(*json.loads(payload)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, after: list[int], limit: int) -> None:
        page = await self._pages(tuple(after), limit)
        self._say(Word.MINERS, pack_json([number, page.model_dump()]))
