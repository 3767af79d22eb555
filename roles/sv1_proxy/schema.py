"""The store of the pool-side instance: the ledger, and beside it what the pool's jobs were and what it said.

`upstream_job` and `upstream_share` are what a proof needs later: each header of the ledger has a merkle root
that follows from a job's coinbase, with an extranonce2, and branches. Both are pruned; the ledger never is.
"""

from roles.credit.schema import BATCHES, LEDGER, SHIFTS
from roles.runtime.storage import CHAIN, Migration

_UPSTREAM = """
-- A job that was mined on, once however often the pool sends the same content, which names tip, coinbase with
-- the extranonce1 in force, and branches. `bytes` is about what the row takes.
CREATE TABLE upstream_job (
    job_no INTEGER PRIMARY KEY,
    content BLOB NOT NULL UNIQUE CHECK (length(content) = 32),
    time INTEGER NOT NULL,
    pool TEXT NOT NULL,
    account TEXT NOT NULL,
    job_id TEXT NOT NULL,
    extranonce1 BLOB NOT NULL,
    extranonce2_size INTEGER NOT NULL,
    previous BLOB NOT NULL CHECK (length(previous) = 32),
    coinbase1 BLOB NOT NULL,
    coinbase2 BLOB NOT NULL,
    branches BLOB NOT NULL CHECK (length(branches) % 32 = 0),
    version INTEGER NOT NULL,
    bits INTEGER NOT NULL,
    ntime INTEGER NOT NULL,
    mask INTEGER NOT NULL,
    target BLOB NOT NULL CHECK (length(target) = 32),
    bytes INTEGER NOT NULL
) STRICT;

-- A share that went to the pool, when it was judged: outcome is accepted, refused (with the pool's code)
-- or lost.
CREATE TABLE upstream_share (
    number INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    content BLOB NOT NULL CHECK (length(content) = 32),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    header BLOB NOT NULL CHECK (length(header) = 80),
    extranonce2 BLOB NOT NULL,
    key BLOB,
    outcome TEXT NOT NULL,
    code TEXT NOT NULL
) STRICT;
"""

MIGRATIONS: tuple[Migration, ...] = (
    (1, "ledger", LEDGER),
    (2, "rows of the ledger in batches", BATCHES),
    (3, "shifts", SHIFTS),
    (4, "the pool's jobs and verdicts", _UPSTREAM),
    (5, "chain", CHAIN),
)
