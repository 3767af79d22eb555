"""The pool's store: the ledger, and beside it the extranonce counter and the blocks found.

`audit_block` is what an audit reads; it stays when the table changes.
"""

from roles.credit.schema import BATCHES, LEDGER, SHIFTS
from roles.runtime.storage import CHAIN, Migration

_POOL = """
-- Counter values of extranonce prefixes below `reserved` may have been granted; `tip_position` is where the
-- prefixes of `tip` begin.
CREATE TABLE prefix_counter (
    server_id INTEGER PRIMARY KEY,
    reserved INTEGER NOT NULL,
    tip BLOB NOT NULL,
    tip_position INTEGER NOT NULL
) STRICT;

-- status: submitted (not seen by the node yet), in_chain, orphaned, rejected.
CREATE TABLE block (
    number INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    header BLOB NOT NULL CHECK (length(header) = 80),
    height INTEGER NOT NULL,
    found_ms INTEGER NOT NULL,
    status TEXT NOT NULL,
    verdict TEXT,
    confirmations INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE VIEW audit_block AS
SELECT number, hash, header, height, found_ms, status, verdict, confirmations FROM block;
"""

MIGRATIONS: tuple[Migration, ...] = (
    (1, "ledger", LEDGER),
    (2, "pool", _POOL),
    (3, "rows of the ledger in batches", BATCHES),
    (4, "shifts", SHIFTS),
    (5, "chain", CHAIN),
)
