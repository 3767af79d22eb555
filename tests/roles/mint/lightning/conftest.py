from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.roles.mint.house import House
from tests.roles.mint.lightning.bank import Bank, open_bank


@pytest.fixture
async def bank(house: House, tmp_path: Path) -> AsyncIterator[Bank]:
    """A bank on each engine."""
    opened = await open_bank(house, tmp_path)
    yield opened
    await opened.lightning.backend.close()
