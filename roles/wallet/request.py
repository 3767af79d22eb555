"""Mint requests as they were sent, kept byte for byte until they are answered, and the counters they use.

A mint answers the identical request with the identical signatures, so a lost answer is asked for by sending
the same bytes again. These functions run inside a read or write of the store.
"""

import json
from dataclasses import dataclass, field
from typing import Literal

from roles.runtime.storage import Connection, Row

Form = Literal["amended", "legacy"]
State = Literal["open", "answered", "abandoned", "disputed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request before it has a number: outputs of `amounts` from `first_counter` on, `body` for `path`."""

    keyset_id: str
    first_counter: int
    amounts: tuple[int, ...]
    path: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MintRequest(Draft):
    """A request in the store; its body is empty once it is settled."""

    request_id: int
    form: Form


def reserve(connection: Connection, keyset_id: str, count: int) -> int:
    """Take `count` counters of a keyset for good and return the first."""
    first = next_counter(connection, keyset_id)
    advance(connection, keyset_id, first + count)
    return first


def next_counter(connection: Connection, keyset_id: str) -> int:
    """The first counter of a keyset that was never taken."""
    row = connection.execute("SELECT next FROM counter WHERE keyset_id = ?", (keyset_id,)).fetchone()
    return 0 if row is None else int(row["next"])


def advance(connection: Connection, keyset_id: str, to: int) -> None:
    """Use no counter of a keyset below `to` from now on; never steps back."""
    connection.execute(
        "INSERT INTO counter VALUES (?, ?) ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
        (keyset_id, to),
    )


def open_request(connection: Connection, draft: Draft, now_ms: int) -> MintRequest:
    """Keep a request before it is sent."""
    row = connection.execute(
        "INSERT INTO request (keyset_id, first_counter, amounts, path, body, form, state, opened_ms)"
        " VALUES (?, ?, ?, ?, ?, 'amended', 'open', ?) RETURNING *",
        (
            draft.keyset_id,
            draft.first_counter,
            json.dumps(draft.amounts),
            draft.path,
            draft.body,
            now_ms,
        ),
    ).fetchone()
    return _request(row)


def reword(connection: Connection, request_id: int, body: bytes) -> None:
    """Replace a refused request's bytes by those with legacy signatures; the outputs are the same."""
    connection.execute(
        "UPDATE request SET body = ?, form = 'legacy' WHERE id = ?",
        (body, request_id),
    )


def settle(connection: Connection, request_id: int, state: State, now_ms: int) -> None:
    """End a request; its bytes are no longer needed unless it is disputed."""
    connection.execute(
        "UPDATE request SET state = ?, settled_ms = ?, body = iif(?, body, NULL) WHERE id = ?",
        (state, now_ms, state == "disputed", request_id),
    )


def unsettled(connection: Connection, *, disputed: bool) -> list[MintRequest]:
    """Requests without an answer, oldest first; with `disputed` those whose answer was no good, too."""
    rows = connection.execute(
        "SELECT * FROM request WHERE state IN ('open', 'disputed') AND (? OR state = 'open') ORDER BY id",
        (disputed,),
    )
    return [_request(row) for row in rows]


def by_id(connection: Connection, request_id: int) -> MintRequest:
    """A request that exists; its body is empty once it is settled."""
    return _request(connection.execute("SELECT * FROM request WHERE id = ?", (request_id,)).fetchone())


def given_up(connection: Connection, share_hash: bytes) -> list[MintRequest]:
    """The requests that carried a quote and were given up, oldest first."""
    rows = connection.execute(
        "SELECT request.* FROM attempt JOIN request ON request.id = attempt.request_id"
        " WHERE attempt.share_hash = ? ORDER BY request.id",
        (share_hash,),
    )
    return [_request(row) for row in rows]


def _request(row: Row) -> MintRequest:
    return MintRequest(
        request_id=row["id"],
        keyset_id=row["keyset_id"],
        first_counter=row["first_counter"],
        amounts=tuple(json.loads(row["amounts"])),
        path=row["path"],
        body=row["body"] or b"",
        form=row["form"],
    )
