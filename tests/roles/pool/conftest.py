"""The pool's house, not started yet, so that a test can furnish it first."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.roles.pool.held_disk import Disk
from tests.roles.pool.house import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    try:
        yield made
    finally:
        await made.stop()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)
