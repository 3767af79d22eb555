"""Upstreams in order of preference: which is there first, and when a better one may be used again."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic

from roles.stratum.upstream import LOSSES, C, Link, PreferenceTiming, Upstream
from roles.stratum.upstream_meters import UpstreamState

__all__ = ["Preference"]

_QUICKEST_CHECK_S = 0.05


class Preference(Generic[C]):
    """The upstreams of one client, the best first."""

    def __init__(self, upstreams: Sequence[Upstream[C]], timing: PreferenceTiming) -> None:
        self.upstreams = tuple(upstreams)
        self._timing = timing

    @property
    def failure(self) -> str:
        """Why there is no connection, for people."""
        if len(self.upstreams) == 1:
            return self.upstreams[0].failure
        return "; ".join(f"{each.name}: {each.failure}" for each in self.upstreams if each.failure)

    def has_others(self, than: Upstream[C]) -> bool:
        """Whether there is one to turn to that does not grant too little."""
        return any(each is not than and not each.is_passed_over for each in self.upstreams)

    def pass_over(self, upstream: Upstream[C]) -> bool:
        """Try this one last, because it grants too little; False where it is the last that is left."""
        upstream.pass_over()
        return any(
            each is not upstream and not each.is_passed_over and each.state is not UpstreamState.AWAY
            for each in self.upstreams
        )

    async def first(self, failed: Callable[[], None]) -> Link[C]:
        """Wait for the first upstream to be there; `failed` is called after each attempt that fails.

        A worse one is tried when all better ones have failed once, or have not answered for the head start.
        Those that did badly come later, the latest last, and those that grant too little after them.
        """
        order = sorted(self.upstreams, key=lambda each: (each.is_passed_over, each.suspect_since))
        gates = [asyncio.Event() for _ in order]
        return await _earliest([self._attempt(order, gates, place, failed) for place in range(len(order))])

    async def _attempt(
        self,
        order: Sequence[Upstream[C]],
        gates: Sequence[asyncio.Event],
        place: int,
        failed: Callable[[], None],
    ) -> Link[C]:
        upstream = order[place]
        patience = None if upstream.is_passed_over else self._timing.head_start * place
        if place:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    for gate in gates[:place]:
                        await gate.wait()

        def fail() -> None:
            gates[place].set()
            failed()

        return await upstream.reach(gates[place].set, fail)

    async def better(self, than: Upstream[C]) -> Link[C]:
        """Wait for an upstream that comes before `than` and has been there for long enough."""
        rivals, period = self.upstreams[: self.upstreams.index(than)], self._timing.failback
        if not rivals or period is None:
            await asyncio.get_running_loop().create_future()
        return await _earliest([self._prove(each, period or 0.0) for each in rivals])

    async def _prove(self, upstream: Upstream[C], period: float) -> Link[C]:
        """A link with an upstream that could be set up whenever it was asked during its period.

        It is asked now and then instead of being kept connected, because servers cut who opens no channel.
        """
        period *= upstream.caution
        pace = min(self._timing.check, max(period / 4, _QUICKEST_CHECK_S))
        loop = asyncio.get_running_loop()
        since: float | None = None
        while True:
            if upstream.is_passed_over:
                await asyncio.sleep(self._timing.check)
                continue
            try:
                link = await upstream.connect()
            except LOSSES as error:
                upstream.failed(error)
                since = None
            else:
                since = loop.time() if since is None else since
                if loop.time() - since >= period:
                    upstream.suspect_since = 0.0
                    return link
                upstream.failure = "is back, and has to prove itself"
                upstream.enter(UpstreamState.PROVING)
                link.close()
            await asyncio.sleep(pace)


async def _earliest(candidates: Sequence[Coroutine[Any, Any, Link[C]]]) -> Link[C]:
    """The link that is there first, of several at once the best; the others are closed."""
    tasks = [asyncio.ensure_future(candidate) for candidate in candidates]
    winner: Link[C] | None = None
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winner = next(task for task in tasks if task.done()).result()
        return winner
    finally:
        await drop(tasks, winner)


async def drop(searches: Sequence["asyncio.Task[Link[C]]"], kept: Link[C] | None = None) -> None:
    """End searches for a link, and close what they have found unless that is kept."""
    for search in searches:
        search.cancel()
    await asyncio.wait(searches)
    for search in searches:
        if not search.cancelled() and search.exception() is None and search.result() is not kept:
            search.result().close()
