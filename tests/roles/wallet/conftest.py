import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from roles.wallet.mint_client import MintClient, open_session
from roles.wallet.seed import seed_from_words, words_from_entropy
from roles.wallet.wallet import Settings, Wallet, open_store, open_wallet
from tests.roles.wallet.fake_mint import FakeMint

WORDS = words_from_entropy(bytes(range(16)))


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    ms: int = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def now(self) -> float:
        return self.ms / 1000

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass
class Home:
    """Opens wallets on one directory, one after the other, as restarts of one daemon."""

    directory: Path
    url: str
    clock: Clock
    stack: AsyncExitStack
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    entropy: int = 0

    async def open_stranger(self, name: str, seed: int = 2) -> Wallet:
        """A wallet of other words."""
        return await self.open(name, words=words_from_entropy(bytes([seed]) * 16))

    async def open(self, name: str = "store", words: str = WORDS, **settings: float) -> Wallet:
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        session = await self.stack.enter_async_context(open_session())
        database = await self.stack.enter_async_context(open_store(directory))
        self.registry = CollectorRegistry()
        return open_wallet(
            database,
            MintClient(self.url, session, timeout=5, waits=()),
            seed_from_words(words),
            metrics=self.registry,
            clock_ms=self.clock.now_ms,
            settings=Settings(**{"linger": 0.01, **settings}),  # type: ignore[arg-type]
            entropy=self._random,
        )

    def _random(self, size: int) -> bytes:
        self.entropy += 1
        return hashlib.shake_128(self.entropy.to_bytes(8, "big")).digest(size)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_wallet_{name}", labels) or 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def mint(clock: Clock) -> FakeMint:
    return FakeMint(clock.now)


@pytest.fixture
async def home(tmp_path: Path, mint: FakeMint, clock: Clock) -> AsyncIterator[Home]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TestServer(mint.app()))
        yield Home(tmp_path, str(server.make_url("")), clock, stack)


Told = Callable[[Wallet, int, int], Awaitable[bytes]]


@pytest.fixture
def tell(mint: FakeMint) -> Told:
    """Credit a share of alice's at the mint and tell the wallet of it, as the pool does."""

    async def tell(wallet: Wallet, number: int, amount: int) -> bytes:
        share_hash = hashlib.sha256(number.to_bytes(4, "big")).digest()
        alice = await wallet.key_for("alice")
        quote = mint.pay(alice.public_key, share_hash, amount)
        wallet.notice(alice.key_index, share_hash, amount, quote.unit)
        return share_hash

    return tell
