"""The faucet: a small token for whoever asks, within limits for each address and for all of a day."""

import time
from collections import OrderedDict
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from roles.runtime.errors import HttpRefusal
from roles.runtime.subnet import subnet_of
from roles.wallet import gifts
from roles.wallet.amount import EHASH
from roles.wallet.errors import NotEnoughError, WalletError
from roles.wallet.wallet import Wallet
from shared_config.wallet_api import FaucetSettings

DAY_S = 86_400.0
CLIENTS = 100_000
"""Addresses that are remembered; beyond, those that came first are forgotten."""


class Faucet:
    """Gives; an address is remembered in memory alone, what was given to all in the store."""

    def __init__(
        self,
        wallet: Wallet,
        settings: FaucetSettings,
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.monotonic,
        *,
        prefix: str = "hashpool_proxy",
    ) -> None:
        self._wallet = wallet
        self._settings = settings
        self._clock = clock
        self._clients: OrderedDict[str, list[float]] = OrderedDict()
        self._gifts = Counter(
            f"{prefix}_faucet_gifts",
            "Requests to the faucet, by what came of them.",
            ["result"],
            registry=registry,
        )

    async def give(self, address: str) -> tuple[int, str]:
        """Amount and text of a token; raises HttpRefusal and WalletError."""
        settings, kit = self._settings, self._wallet.kit
        if not settings.enabled:
            raise HttpRefusal(404, "there is no faucet here")
        mine = self._gifts_of(_client(address))
        if len(mine) >= settings.client_gifts:
            self._gifts.labels("client").inc()
            wait = mine[0] + DAY_S - self._clock()
            raise HttpRefusal(429, "this address has had its gifts of today", headers=_later(wait))
        mine.append(self._clock())
        try:
            now = kit.clock_ms()
            if not await kit.database.write(
                lambda c: gifts.take(c, settings.amount, settings.daily_total, now)
            ):
                self._gifts.labels("total").inc()
                raise HttpRefusal(503, "everything for today has been given", headers=_later(3_600))
            sent = await self._wallet.sender.send(settings.amount, EHASH, memo="faucet")
        except NotEnoughError as error:
            mine.pop()
            self._gifts.labels("empty").inc()
            raise HttpRefusal(503, "the faucet is empty", headers=_later(3_600)) from error
        except (HttpRefusal, WalletError):
            mine.pop()
            raise
        self._gifts.labels("given").inc()
        # Of several units there are several tokens; one text has them all.
        return sent.amount, " ".join(token.text or "" for token in sent.tokens)

    def _gifts_of(self, client: str) -> list[float]:
        now = self._clock()
        found = [when for when in self._clients.pop(client, []) if now - when < DAY_S]
        self._clients[client] = found
        if len(self._clients) > CLIENTS:
            self._clients.popitem(last=False)
        return found


def _client(address: str) -> str:
    return subnet_of(address) if ":" in address else address


def _later(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, int(seconds)))}
