"""Daemons for functional tests; when one fails, what they have logged is shown."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.functional.processes import Site


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
