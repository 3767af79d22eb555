"""cashu-ts, the library of most web wallets, against our mint: every scene of tests/clients is a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.functional.foreign import Played, play, scenes
from tests.functional.foreign_mint import ForeignMint
from tests.functional.processes import Site

pytestmark = pytest.mark.functional


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def mint(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ForeignMint]:
    with Site(tmp_path_factory.mktemp("cashu_ts")) as site:
        made = ForeignMint(site)
        await made.daemon.started()
        yield made


Playing = Callable[[str, dict[str, Any]], Awaitable[Played]]


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Playing:
    """Plays all scenes of a script."""

    async def playing(script: str, told: dict[str, Any]) -> Played:
        return await play(tmp_path_factory.mktemp("play"), script, told)

    return playing


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def on_ehash(mint: ForeignMint, playing: Playing) -> Played:
    return await playing("any_unit.mjs", await mint.ehash())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def on_sat(mint: ForeignMint, playing: Playing) -> Played:
    return await playing("any_unit.mjs", mint.sat)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def of_sats(mint: ForeignMint, playing: Playing) -> Played:
    return await playing("sat.mjs", mint.sat)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def by_lightning(mint: ForeignMint, playing: Playing) -> Played:
    return await playing("melt.mjs", mint.sat)


@pytest.mark.parametrize("scene", scenes("any_unit.mjs"))
def test_on_ehash(on_ehash: Played, scene: str) -> None:
    on_ehash.check(scene)


@pytest.mark.parametrize("scene", scenes("any_unit.mjs"))
def test_on_sat(on_sat: Played, scene: str) -> None:
    on_sat.check(scene)


@pytest.mark.parametrize("scene", scenes("sat.mjs"))
def test_of_sats(of_sats: Played, scene: str) -> None:
    of_sats.check(scene)


@pytest.mark.parametrize("scene", scenes("melt.mjs"))
def test_by_lightning(by_lightning: Played, scene: str) -> None:
    by_lightning.check(scene)
