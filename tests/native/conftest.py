"""What tests of the native kernel are given, and what is closed behind them."""

from collections.abc import Iterator

import pytest

from tests.native.test_hub import Hall
from tests.native.test_outlet import Way


@pytest.fixture
def hall() -> Iterator[Hall]:
    """A hub where nobody sits yet."""
    hall = Hall()
    yield hall
    for owner in hall.owners:
        owner.close()


@pytest.fixture
def way() -> Iterator[Way]:
    """A connection with an outlet."""
    way = Way()
    yield way
    way.close()
