"""A PostgreSQL store for who looks at it from outside: one snapshot, read row by row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from sqlite3 import DatabaseError
from typing import Any, Literal, Self, TypeVar

from roles.runtime.storage.connection import Parameters
from roles.runtime.storage.postgres_session import Again, Away, Rows, Session, unusable
from roles.runtime.storage.server import Server

T = TypeVar("T")


def open_server_readonly(server: Server) -> "Snapshot":
    """See `open_readonly`; also from within an event loop."""
    server.check("the DSN")
    snapshot = Snapshot(Session(server, for_migration=True))
    try:
        snapshot.begin()
    except Away as error:
        snapshot.close()
        raise unusable(server, error) from None
    return snapshot


class Snapshot:
    """A store at one moment, on a connection and a thread of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")

    def begin(self) -> None:
        """Connect and take the snapshot; raises Away."""
        self._on_thread(self._session.ensure)
        self._on_thread(self._session.begin_snapshot)

    def execute(self, sql: str, parameters: Parameters = (), /) -> Rows:
        """See `Connection`."""
        portal, names = self._asked(lambda: self._session.portal(sql, parameters))
        return Rows(self._rows(portal), -1, names)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Rows:
        """See `Connection`."""
        return self._asked(lambda: self._session.executemany(sql, parameters))

    def each(self, sql: str, keys: Sequence[Any]) -> list[Any]:
        """See `look_up.each`."""
        return self._asked(lambda: self._session.each(sql, keys))

    def close(self) -> None:
        """End the snapshot."""
        self._on_thread(self._session.close)
        self._thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self.close()
        return False

    def _rows(self, portal: Any) -> Iterator[Any]:
        while rows := self._asked(lambda: self._session.fetch_more(portal)):
            yield from rows

    def _asked(self, fn: Callable[[], T]) -> T:
        try:
            return self._on_thread(fn)
        except (Away, Again) as error:
            raise DatabaseError(str(error)) from None

    def _on_thread(self, fn: Callable[[], T]) -> T:
        return self._thread.submit(fn).result()
