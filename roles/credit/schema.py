"""The ledger's tables. They are only ever added to; seq is the rowid, so that it has no gap.

`audit_share` is what an audit reads; it stays when the tables change. Targets are 32 bytes little-endian,
hashes 32 bytes in internal order, times Unix milliseconds.
"""

LEDGER = """
CREATE TABLE ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store_id BLOB NOT NULL CHECK (length(store_id) = 16),
    identity BLOB NOT NULL CHECK (length(identity) = 33),
    shift INTEGER NOT NULL CHECK (shift >= 0)
) STRICT;

-- No row of a tip comes before `first_seq`.
CREATE TABLE tip (
    tip_no INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    first_seq INTEGER NOT NULL
) STRICT;

-- A share stands here once by (tip_no, hash); `register` sees to it.
CREATE TABLE share (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    shift INTEGER NOT NULL,
    minimum INTEGER NOT NULL,
    valuation INTEGER NOT NULL,
    tip_no INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    header BLOB NOT NULL CHECK (length(header) = 80),
    target BLOB NOT NULL CHECK (length(target) = 32),
    amount INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    key BLOB NOT NULL CHECK (length(key) = 33),
    block INTEGER NOT NULL CHECK (block IN (0, 1))
) STRICT;

-- Accepted shares whose channel named no key; they have no place in the sequence.
CREATE TABLE unattributed (
    number INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    tip_no INTEGER NOT NULL REFERENCES tip,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    amount INTEGER NOT NULL,
    block INTEGER NOT NULL,
    UNIQUE (tip_no, hash)
) STRICT;

-- Rows that the mint settled by refusing them; code as in CreditResults.
CREATE TABLE refusal (
    seq INTEGER PRIMARY KEY REFERENCES share,
    code INTEGER NOT NULL,
    time INTEGER NOT NULL
) STRICT;

CREATE VIEW audit_share AS
SELECT share.seq, share.time, share.hash AS share_hash, share.header, share.target, share.minimum,
    share.valuation, share.amount, share.key, share.shift, share.block, refusal.code AS refusal
FROM share LEFT JOIN refusal USING (seq);
"""
