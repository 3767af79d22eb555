import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.roles.mint.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    opened = await open_house(tmp_path)
    yield opened
    opened.signatory.close()
    await asyncio.to_thread(opened.database.close)
