"""What the faucet has given within a day, counted in the store so that no restart begins anew.

These functions run inside a write of the store.
"""

from roles.runtime.storage import Connection

DAY_MS = 86_400_000


def take(connection: Connection, amount: int, total: int, now_ms: int) -> bool:
    """Count a gift; False, and nothing is counted, when all of a day would be more than `total`."""
    connection.execute(
        "DELETE FROM gift WHERE time_ms <= ? OR time_ms > ?", (now_ms - DAY_MS, now_ms + DAY_MS)
    )
    given = connection.execute("SELECT coalesce(sum(amount), 0) FROM gift").fetchone()[0]
    if given + amount > total:
        return False
    connection.execute("INSERT INTO gift (time_ms, amount) VALUES (?, ?)", (now_ms, amount))
    return True
