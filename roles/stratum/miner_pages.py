"""Miners page by page, so that thousands keep nobody waiting."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from heapq import nsmallest
from typing import Protocol, TypeVar

from roles.runtime.api import Endpoint, Parameter, Query
from roles.runtime.errors import HttpRefusal
from roles.stratum.overview import Miner, MinerPage

__all__ = ["Key", "MinerSource", "Pages", "key_of", "miner_endpoints", "name_of", "page"]

PAGE = 100
MOST = 500
SLICE = 25
"""Miners looked at before others have their turn."""

T = TypeVar("T")
Key = tuple[int, ...]


Pages = Callable[[Key, int], Awaitable[MinerPage]]
"""What tells at most so many miners behind a key."""


class MinerSource(Protocol[T]):
    """Who knows the miners that are connected, each by a key of numbers that stays."""

    def present(self) -> Mapping[Key, T]:
        """All of them, in any order."""

    def describe(self, key: Key, miner: T) -> Miner:
        """What is told of one, which may just have gone."""


def name_of(key: Key) -> str:
    """The id of a key."""
    return ".".join(map(str, key))


def key_of(name: str) -> Key | None:
    """The key of an id, None where it cannot be one."""
    parts = name.split(".")
    if len(parts) > 4 or not all(part.isascii() and part.isdecimal() and len(part) < 16 for part in parts):
        return None
    return tuple(map(int, parts))


async def page(source: MinerSource[T], after: Key, limit: int) -> MinerPage:
    """At most `limit` miners behind a key."""
    present = source.present()
    wanted = nsmallest(limit + 1, (key for key in present if key > after))
    miners = []
    for number, key in enumerate(wanted[:limit], 1):
        miners.append(source.describe(key, present[key]))
        if number % SLICE == 0:
            await asyncio.sleep(0)
    is_last = len(wanted) <= limit
    return MinerPage(miners=miners, next=None if is_last else name_of(wanted[limit - 1]), total=len(present))


def miner_endpoints(pages: Pages) -> tuple[Endpoint, ...]:
    """All miners in pages, and one by its id."""

    async def several(query: Query) -> MinerPage:
        limit = query.number("limit", PAGE, least=1, most=MOST)
        after = key_of(query.parameters["after"]) if "after" in query.parameters else ()
        if after is None:
            raise HttpRefusal(400, "after must be what a page has told as next")
        return await pages(after, limit)

    async def one(query: Query) -> Miner:
        key = key_of(query.names["id"])
        # The first behind the one before it.
        found = [] if key is None else (await pages((*key[:-1], key[-1] - 1), 1)).miners
        if not found or found[0].id != query.names["id"]:
            raise HttpRefusal(404, "no such miner is connected")
        return found[0]

    sizes = {"type": "integer", "minimum": 1, "maximum": MOST, "default": PAGE}
    parameters = (
        Parameter("limit", sizes, "How many miners a page has at most."),
        Parameter("after", {"type": "string"}, "Where to go on: what the page before has told as next."),
    )
    return (
        Endpoint("/api/v1/miners", "The miners that are connected.", MinerPage, several, parameters),
        Endpoint("/api/v1/miners/{id}", "One miner that is connected.", Miner, one),
    )
