import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.roles.mint.house import open_house
from tests.roles.mint.lightning.bank import Bank, open_bank


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    house = await open_house(tmp_path)
    opened = await open_bank(house, tmp_path)
    yield opened
    await opened.lightning.backend.close()
    house.signatory.close()
    await asyncio.to_thread(house.database.close)
