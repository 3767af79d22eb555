"""Finding quotes that no notice told of: the mint is asked what is locked to the wallet's keys (NUT-XX)."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from protocols.cashu import lookup
from roles.runtime.errors import StorageError
from roles.wallet import identity, quote
from roles.wallet.errors import MintDishonest, MintRefused, MintUnreachable
from roles.wallet.identity import Identity
from roles.wallet.kit import Kit
from roles.wallet.mint_api import METHOD, MintInfo, QuoteState
from roles.wallet.mint_client import BOLT11
from roles.wallet.quote import Quote

log = logging.getLogger(__name__)

PAGE = 200
MAX_PAGES = 10_000
_PAUSE = 5.0
_KEYS_PER_SECOND = 10
"""A wallet of many keys asks less often: each costs a signature here and a check there."""
_PORTION = 50
_SIGNED_AT_ONCE = 25
"""Some 2 ms of work."""
_SIGNATURE_REFUSED = 20008


@dataclass(slots=True)
class Survey:
    """What the mint holds for keys: their quotes, how many were `found` new, ehash `issued` by unit."""

    quotes: int = 0
    found: int = 0
    issued: Counter[str] = field(default_factory=Counter)


class Discovery:
    """Look-ups of all keys at start and when asked to, and of a few after the other at all times, each every
    `interval` seconds, or as often as so many may be; `on_found` is called when there is news.
    """

    def __init__(self, kit: Kit, *, interval: float, on_found: Callable[[], None]) -> None:
        self._kit = kit
        self._interval = interval
        self._on_found = on_found
        self._wake = asyncio.Event()
        self._wake.set()
        self._due: deque[Sequence[Identity]] = deque()
        self._pause = interval

    def wake(self) -> None:
        """Look up soon."""
        self._wake.set()

    async def run(self) -> None:
        """Look up for ever; an outage of the mint is waited out."""
        while True:
            pause = self._interval
            try:
                if self._wake.is_set():
                    self._wake.clear()
                    self._due.clear()
                    await self.look_up_all()
                else:
                    pause = await self._go_on()
                if self._kit.link.reached():
                    self._on_found()
            except MintUnreachable as error:
                self._kit.link.lost(error)
                await self._rest(_PAUSE)
                self._wake.set()
            except (MintRefused, MintDishonest, StorageError) as error:
                self._kit.meters.alarms.labels("lookup").inc()
                hint = ""
                if isinstance(error, MintRefused) and error.code == _SIGNATURE_REFUSED:
                    hint = "; see that this machine's clock is right"
                log.warning("look-up of quotes failed: %s%s", error, hint)
            await self._rest(pause)

    async def _go_on(self) -> float:
        """Look the next few up, and return when those behind them are due, in seconds: all of a wallet of
        thousands are much work, for which shares would wait. What fails comes again with the next round.
        """
        if not self._due:
            self._due.extend(_chunks(await self._everyone(), _PORTION) or [()])
            self._pause = max(self._interval / len(self._due), len(self._due[0]) / _KEYS_PER_SECOND)
        self._tell(await self.look_up(self._due.popleft()))
        return self._pause

    async def _rest(self, pause: float) -> None:
        """Wait, unless all are wanted at once."""
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def look_up_all(self) -> tuple[int, int]:
        """Learn what can be minted for any key of the wallet; returns how many keys, and how many new
        quotes.
        """
        everyone = await self._everyone()
        found = await self.look_up(everyone)
        self._tell(found)
        return len(everyone), found

    async def _everyone(self) -> list[Identity]:
        holds = self._kit.keyring.holds
        return [known for known in await self._kit.database.read(identity.everyone) if holds(known.key_index)]

    def _tell(self, found: int) -> None:
        if found:
            self._kit.meters.found.inc(found)
            log.info("found %d quotes by key that no notice told of", found)
            self._on_found()

    async def look_up(self, identities: Sequence[Identity]) -> int:
        """Learn what can be minted for these keys; returns how many quotes were new. Raises MintError."""
        return (await self._survey(identities, only_mintable=True)).found

    async def survey(self, identities: Sequence[Identity]) -> Survey:
        """Learn what can be minted for these keys, and what was; raises MintError."""
        return await self._survey(identities, only_mintable=False)

    async def invoices(self, identities: Sequence[Identity]) -> list[QuoteState]:
        """The mint's invoices that are locked to these keys, minted ones, too; raises MintError."""
        found: list[QuoteState] = []
        info = await self._kit.link.info()
        for chunk in _chunks(identities, info.max_lookup_keys):
            keys = {item.public_key for item in chunk}
            async for page in self._pages(info, chunk, only_mintable=False, method=BOLT11):
                found += [state for state in page if state.public_key in keys]
        return found

    async def _survey(self, identities: Sequence[Identity], *, only_mintable: bool) -> Survey:
        survey = Survey()
        info = await self._kit.link.info()
        for chunk in _chunks(identities, info.max_lookup_keys):
            indexes = {item.public_key: item.key_index for item in chunk}
            async for page in self._pages(info, chunk, only_mintable=only_mintable):
                known = [state for state in page if state.public_key in indexes]
                survey.quotes += len(known)
                for state in known:
                    survey.issued[state.unit] += state.issued
                survey.found += await self._learn(
                    [
                        Quote(
                            state.share_hash,
                            state.quote_id,
                            indexes[state.public_key],
                            state.mintable,
                            state.unit,
                        )
                        for state in known
                        if state.share_hash is not None and state.public_key and state.mintable > 0
                    ]
                )
        return survey

    async def _learn(self, quotes: Sequence[Quote]) -> int:
        now = self._kit.clock_ms()
        return await self._kit.database.write(lambda c: quote.learn(c, quotes, "lookup", now))

    async def _pages(
        self, info: MintInfo, chunk: Sequence[Identity], *, only_mintable: bool, method: str = METHOD
    ) -> AsyncIterator[list[QuoteState]]:
        if info.public_key is None:
            return
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            timestamp = self._kit.clock_ms() // 1000
            signed = await self._signed(info.public_key, chunk, timestamp)
            page, following = await self._kit.mint.look_up(
                signed, timestamp, only_mintable=only_mintable, limit=PAGE, cursor=cursor, method=method
            )
            yield page
            if following is None:
                return
            if following == cursor:
                raise MintDishonest("the mint's look-up does not advance")
            cursor = following
        raise MintDishonest(f"the mint's look-up has more than {MAX_PAGES} pages")

    async def _signed(
        self, mint_key: bytes, chunk: Sequence[Identity], timestamp: int
    ) -> list[tuple[bytes, bytes]]:
        """The keys with a signature each; between a few of them the shares of miners have their turn."""
        signed = []
        for few in _chunks(chunk, _SIGNED_AT_ONCE):
            for item in few:
                secret = self._kit.keyring.quote_secret(item.key_index)
                entropy = self._kit.entropy(32)
                signature = lookup.sign(secret, mint_key, item.public_key, timestamp, entropy)
                signed.append((item.public_key, signature))
            await asyncio.sleep(0)
        return signed


def _chunks(identities: Sequence[Identity], size: int) -> list[Sequence[Identity]]:
    """Keys for one request each; none at all for a mint that offers no look-up."""
    if size == 0:
        return []
    return [identities[start : start + size] for start in range(0, len(identities), size)]
