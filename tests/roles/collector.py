"""Whether what ends is gone at once, or left to Python's collector of circles, which stops a daemon for long
where thousands end together.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collector() -> Iterator[None]:
    """Circles stay while this lasts; what there were is gone before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive(*kinds: type) -> int:
    """Objects of these kinds that are there, be they in use or not."""
    return sum(isinstance(each, kinds) for each in gc.get_objects())
