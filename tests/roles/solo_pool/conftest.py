"""A solo pool over a fake node."""

from collections.abc import AsyncIterator

import pytest

from tests.roles.solo_pool.house import House
from tests.roles.templates.fake_node import FakeNode


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def house(node: FakeNode) -> AsyncIterator[House]:
    made = House(node)
    await made.open()
    yield made
    await made.close()
