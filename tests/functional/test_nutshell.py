"""The nutshell wallet, a library and a command line in Python, against our mint."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.functional.foreign import Played, play, scenes
from tests.functional.foreign_mint import ForeignMint
from tests.functional.processes import Site

pytestmark = pytest.mark.functional

SCRIPT = "nutshell_wallet.py"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def mint(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ForeignMint]:
    with Site(tmp_path_factory.mktemp("nutshell")) as site:
        made = ForeignMint(site)
        await made.daemon.started()
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def played(mint: ForeignMint, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return await play(tmp_path_factory.mktemp("play"), SCRIPT, mint.sat)


@pytest.mark.parametrize("scene", scenes(SCRIPT))
def test_nutshell(played: Played, scene: str) -> None:
    played.check(scene)
