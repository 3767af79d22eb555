"""Daemons for functional tests; when one fails, what they have logged is shown."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.functional.processes import Site

LONG_FIRST: Final = (
    "test_crash_points.py",
    "test_faults.py",
    "test_random_kills.py",
    "test_kills.py",
    "test_mint_crash_points.py",
    "test_up.py",
    "test_failover.py",
    "test_sri_pool.py",
    "test_hostile_peers.py",
    "test_hostile_sv1.py",
    "test_nutshell.py",
    "test_first_token.py",
    "test_sv1_system.py",
    "test_front_ends.py",
)
"""Modules that take minutes of a worker, so that at the end none has one left while the others wait."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A place for daemons; none outlives the test."""
    with Site(tmp_path) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the logs' last lines to the report of a test that has failed."""
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.failed and isinstance(site, Site):
        report.sections.extend(site.log_tails())
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders modules by what they take."""
    places = {name: place for place, name in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
