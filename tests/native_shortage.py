"""Memory that is not there for one moment, for tests of the native kernel.

They skip where Python cannot withhold it, and fail in CI.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

MOST: Final = 150
"""More allocations than a call makes that is tested so."""


def shortages(length: int) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Ways to call something, each of which has the allocations from another number on fail, so many of them.

    They return None where what is called raises MemoryError.
    """
    hooks = _hooks()
    for first in range(MOST):

        def call(act: Callable[[], Any], first: int = first) -> Any:
            hooks.set_nomemory(first, first + length)
            try:
                return act()
            except MemoryError:
                return None
            finally:
                hooks.remove_mem_hooks()

        yield call


def _hooks() -> Any:
    try:
        return importlib.import_module("_testcapi")
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("this Python was built without _testcapi, which makes allocations fail")
