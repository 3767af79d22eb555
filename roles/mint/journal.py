"""What operators and the watchdog have done to the mint, kept in its store for good."""

from dataclasses import dataclass

from roles.runtime.storage import Connection


@dataclass(frozen=True, slots=True)
class Entry:
    """One action: its Unix time, what was done, to what, and why or how."""

    number: int
    time: int
    action: str
    subject: str
    detail: str


def record(connection: Connection, now: int, action: str, subject: str, detail: str) -> None:
    """Keep an action, in the write that carries it out."""
    connection.execute(
        "INSERT INTO journal (time, action, subject, detail) VALUES (?, ?, ?, ?)",
        (now, action, subject, detail),
    )


def latest(connection: Connection, limit: int) -> list[Entry]:
    """The last actions, newest first."""
    rows = connection.execute(
        "SELECT journal_no, time, action, subject, detail FROM journal ORDER BY journal_no DESC LIMIT ?",
        (limit,),
    ).fetchall()
    return [
        Entry(row["journal_no"], row["time"], row["action"], row["subject"], row["detail"]) for row in rows
    ]
