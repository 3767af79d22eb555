"""Miners page by page, so that thousands keep nobody waiting."""

import asyncio
from collections.abc import Iterable
from heapq import nsmallest
from typing import Protocol

from roles.runtime.api import Endpoint, Parameter, Query
from roles.runtime.errors import HttpRefusal
from roles.stratum.overview import Miner, MinerPage

__all__ = ["Key", "MinerSource", "key_of", "miner_endpoints", "name_of", "page"]

PAGE = 100
MOST = 500
SLICE = 25
"""Miners looked at before others have their turn."""

Key = tuple[int, ...]


class MinerSource(Protocol):
    """Who knows the miners that are connected, each by a key of numbers that stays."""

    def keys(self) -> Iterable[Key]:
        """Those of all, in any order."""

    def show(self, key: Key) -> Miner | None:
        """What is told of one; None when it has gone."""


def name_of(key: Key) -> str:
    """The id of a key."""
    return ".".join(map(str, key))


def key_of(name: str) -> Key | None:
    """The key of an id, None where it cannot be one."""
    parts = name.split(".")
    if len(parts) > 4 or not all(part.isascii() and part.isdecimal() and len(part) < 16 for part in parts):
        return None
    return tuple(map(int, parts))


async def page(source: MinerSource, after: Key, limit: int) -> MinerPage:
    """At most `limit` miners behind a key."""
    keys = list(source.keys())
    wanted = nsmallest(limit + 1, (key for key in keys if key > after))
    miners = []
    for number, key in enumerate(wanted[:limit], 1):
        if (miner := source.show(key)) is not None:
            miners.append(miner)
        if number % SLICE == 0:
            await asyncio.sleep(0)
    is_last = len(wanted) <= limit
    return MinerPage(miners=miners, next=None if is_last else name_of(wanted[limit - 1]), total=len(keys))


def miner_endpoints(source: MinerSource) -> tuple[Endpoint, ...]:
    """All miners in pages, and one by its id."""

    async def several(query: Query) -> MinerPage:
        limit = query.number("limit", PAGE, least=1, most=MOST)
        after = key_of(query.parameters["after"]) if "after" in query.parameters else ()
        if after is None:
            raise HttpRefusal(400, "after must be what a page has told as next")
        return await page(source, after, limit)

    def one(query: Query) -> Miner:
        key = key_of(query.names["id"])
        miner = source.show(key) if key is not None else None
        if miner is None:
            raise HttpRefusal(404, "no such miner is connected")
        return miner

    sizes = {"type": "integer", "minimum": 1, "maximum": MOST, "default": PAGE}
    parameters = (
        Parameter("limit", sizes, "How many miners a page has at most."),
        Parameter("after", {"type": "string"}, "Where to go on: what the page before has told as next."),
    )
    return (
        Endpoint("/api/v1/miners", "The miners that are connected.", MinerPage, several, parameters),
        Endpoint("/api/v1/miners/{id}", "One miner that is connected.", Miner, one),
    )
