"""The ledger's tables. They are only ever added to; seq has no gap.

`audit_share` is what an audit reads; it and `share` stay when the tables change. Targets are
32 bytes little-endian, hashes 32 bytes in internal order, times Unix milliseconds.
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

-- What many shares have in common: a miner's shares at one target.
CREATE TABLE terms (
    terms_no INTEGER PRIMARY KEY,
    shift INTEGER NOT NULL,
    minimum INTEGER NOT NULL,
    valuation INTEGER NOT NULL,
    target BLOB NOT NULL CHECK (length(target) = 32),
    key BLOB NOT NULL CHECK (length(key) = 33)
) STRICT;

-- The rows, once by (tip_no, hash); `register` sees to it.
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    tip_no INTEGER NOT NULL,
    terms_no INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    header BLOB NOT NULL CHECK (length(header) = 80),
    amount INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    block INTEGER NOT NULL CHECK (block IN (0, 1))
) STRICT;

CREATE VIEW share AS
SELECT entry.seq, entry.time, terms.shift, terms.minimum, terms.valuation, entry.tip_no, entry.hash,
    entry.header, terms.target, entry.amount, terms.key, entry.block
FROM entry JOIN terms USING (terms_no);

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
    seq INTEGER PRIMARY KEY REFERENCES entry,
    code INTEGER NOT NULL,
    time INTEGER NOT NULL
) STRICT;

CREATE VIEW audit_share AS
SELECT share.seq, share.time, share.hash AS share_hash, share.header, share.target, share.minimum,
    share.valuation, share.amount, share.key, share.shift, share.block, refusal.code AS refusal
FROM share LEFT JOIN refusal USING (seq);
"""

BATCHES = """
DROP VIEW audit_share;
DROP VIEW share;

CREATE TABLE refused (
    seq INTEGER PRIMARY KEY,
    code INTEGER NOT NULL,
    time INTEGER NOT NULL
) STRICT;
INSERT INTO refused SELECT seq, code, time FROM refusal;
DROP TABLE refusal;
ALTER TABLE refused RENAME TO refusal;

-- The rows, `size` of them from `first_seq` on; `roles.credit.batch` tells what is where in the body.
CREATE TABLE batch (
    first_seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    tip_no INTEGER NOT NULL,
    size INTEGER NOT NULL CHECK (size BETWEEN 1 AND 64),
    body BLOB NOT NULL CHECK (length(body) = 141 * size)
) STRICT;
INSERT INTO batch
SELECT seq, time, tip_no, 1, CAST(hash || header || printf('%016d%012d%d', amount, terms_no, block) AS BLOB)
FROM entry ORDER BY seq;
DROP TABLE entry;

CREATE TABLE place (n INTEGER PRIMARY KEY) STRICT;
INSERT INTO place
WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < 63) SELECT n FROM number;

CREATE VIEW entry AS
SELECT batch.first_seq + place.n AS seq, batch.time, batch.tip_no,
    CAST(substr(batch.body, 141 * place.n + 129, 12) AS INTEGER) AS terms_no,
    substr(batch.body, 141 * place.n + 1, 32) AS hash,
    substr(batch.body, 141 * place.n + 33, 80) AS header,
    CAST(substr(batch.body, 141 * place.n + 113, 16) AS INTEGER) AS amount,
    CAST(substr(batch.body, 141 * place.n + 141, 1) AS INTEGER) AS block
FROM batch CROSS JOIN place ON place.n < batch.size;

CREATE VIEW share AS
SELECT entry.seq, entry.time, terms.shift, terms.minimum, terms.valuation, entry.tip_no, entry.hash,
    entry.header, terms.target, entry.amount, terms.key, entry.block
FROM entry CROSS JOIN terms USING (terms_no);

CREATE VIEW audit_share AS
SELECT share.seq, share.time, share.hash AS share_hash, share.header, share.target, share.minimum,
    share.valuation, share.amount, share.key, share.shift, share.block, refusal.code AS refusal
FROM share LEFT JOIN refusal USING (seq);
"""

SHIFTS = """
-- Each shift's first row. Up to row `counted_seq`, which may lie behind, its rows amount to `amount`.
CREATE TABLE shift (
    shift INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    counted_seq INTEGER NOT NULL,
    amount INTEGER NOT NULL
) STRICT;
"""
