"""A relay on a real port, on fake trunks, and the fake miners that connect to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Submit
from protocols.translation.share import JudgedShare
from protocols.translation.slicing import Slicing
from protocols.translation.work import Work
from roles.runtime.line_connection import serve
from roles.runtime.peer_server import ServerLimits
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_identity import MinerIdentity
from roles.stratum.miner_session import SessionLimits
from roles.stratum.submissions import Settle
from roles.sv1_proxy.guest import Guest
from roles.sv1_proxy.relay import Make, Relay
from shared_config.address import Address
from tests.roles.sv1_proxy.fake_trunk import FakeTrunk, FakeTrunks
from tests.roles.translator.fake_miners import FakeMiner
from tests.roles.translator.scripted_proxy import PATIENCE

Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class PlainGuest(Guest):
    """Is let in by its trunk under its own name, and has all its shares sent on."""

    def _ask_in(self, identity: MinerIdentity) -> None:
        assert self.trunk is not None
        self.trunk.authorize(
            identity.user,
            "x",
            lambda refusal: self._keep_out(refusal.text) if refusal else self._let_in(),
        )

    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle) -> None:
        assert self.identity is not None
        self._forward(self.identity.user, share, submit, work, settle)


class House:
    """A relay with one trunk or several, and its miners."""

    def __init__(self, *trunks: FakeTrunk, **limits: Any) -> None:
        self.trunks = FakeTrunks(*(trunks or (FakeTrunk(),)))
        hold_s = limits.pop("hold_s", 60.0)
        slicing = limits.pop("slicing", Slicing())
        make: Make[Guest] = limits.pop("make", PlainGuest)
        self.relay: Relay[Guest] = Relay(
            make,
            slicing=slicing,
            terms=LodgingTerms(0.0000002, limits.pop("open_s", 2.0), hold_s),
            limits=SessionLimits(**{"verdict_s": 2.0, **limits}),
        )
        self.relay.trunks = self.trunks
        for trunk in self.trunks.trunks:
            trunk.listener = self.relay
        self.server = serve(
            Address("127.0.0.1", 0),
            self.relay.serve,
            setting="listen_address",
            server_limits=ServerLimits(begin_s=1.0),
        )
        self.miners: list[FakeMiner] = []
        self._task = asyncio.create_task(self.server.run())

    @property
    def trunk(self) -> FakeTrunk:
        return self.trunks.trunks[0]

    async def connect(self, kind: type[FakeMiner] = FakeMiner, **attributes: Any) -> Any:
        miner = kind()
        for name, value in attributes.items():
            setattr(miner, name, value)
        self.miners.append(miner)
        return await miner.connect(self.server.address.port)

    async def miner(self, kind: type[FakeMiner] = FakeMiner, **attributes: Any) -> Any:
        """A miner at work."""
        miner = await self.connect(kind, **attributes)
        await miner.start()
        return miner

    async def close(self) -> None:
        for miner in self.miners:
            await miner.close()
        assert not self._task.done(), self._task
        self._task.cancel()
        await asyncio.wait({self._task})
        for trunk in self.trunks.trunks:
            assert trunk.bad == []


@pytest.fixture
async def build() -> AsyncIterator[Callable[..., House]]:
    """Makes houses, with work on their trunks, and takes them down."""
    houses: list[House] = []

    def make(*trunks: FakeTrunk, **limits: Any) -> House:
        house = House(*trunks, **limits)
        houses.append(house)
        for trunk in house.trunks.trunks:
            trunk.work()
        return house

    yield make
    for house in houses:
        await house.close()


@pytest.fixture
async def house(build: Callable[..., House]) -> House:
    return build()


@pytest.fixture
def eventually() -> Eventually:
    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.001)

    return wait
