"""What a function that reads or writes the store is given, whatever engine is beneath it.

SQL is what both engines understand: `?` or `:name` for parameters, `ON CONFLICT`, `RETURNING`, window
functions; no scalar `max(a, b)`, no rowid, no PRAGMA. Integers have 64 bits, byte strings are `bytes`, flags
0 and 1.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, Self

Parameters = Sequence[Any] | Mapping[str, Any]


class Row(Protocol):
    """A row: its columns by name, by place and in order."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def keys(self) -> Iterable[str]:
        """The columns' names."""
        ...


class Cursor(Protocol):
    """What a statement gave; `rowcount` is how many rows it wrote, over all parameters of `executemany`."""

    @property
    def rowcount(self) -> int: ...
    @property
    def description(self) -> Any: ...
    def fetchone(self) -> Any:
        """The next row, None when there is none left."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A store within one transaction."""

    def execute(self, sql: str, parameters: Parameters = ..., /) -> Cursor:
        """Carry out one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Carry out one statement for each row of parameters."""
        ...


class ReadOnlyConnection(Connection, Protocol):
    """A store in one snapshot; leaving its context closes it."""

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> Literal[False]: ...
