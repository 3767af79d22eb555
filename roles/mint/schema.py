"""The mint's store. Tables are STRICT, so that an amount which leaves 64 bits is refused and never becomes a
float.

`share_quote`, `keyset_total` and `issued_signature` are what an audit reads; they stay when the tables
change. Quotes that were compacted are in none of them: see `roles.mint.archive`.
"""

from roles.runtime.storage import CHAIN, Migration

_FIRST = """
CREATE TABLE keyset (
    keyset_no INTEGER PRIMARY KEY,
    keyset_id TEXT NOT NULL UNIQUE,
    unit TEXT NOT NULL CHECK (unit = lower(unit)),
    seed_fingerprint BLOB NOT NULL CHECK (length(seed_fingerprint) = 16),
    derivation_index INTEGER NOT NULL,
    denominations INTEGER NOT NULL,
    input_fee_ppk INTEGER NOT NULL DEFAULT 0,
    final_expiry INTEGER,
    active INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    issued INTEGER NOT NULL DEFAULT 0 CHECK (issued >= 0),
    redeemed INTEGER NOT NULL DEFAULT 0 CHECK (redeemed BETWEEN 0 AND issued),
    UNIQUE (seed_fingerprint, unit, derivation_index)
) STRICT;

CREATE TABLE issuer (
    issuer_no INTEGER PRIMARY KEY,
    identity BLOB NOT NULL UNIQUE CHECK (length(identity) = 33),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE shift (
    issuer_no INTEGER NOT NULL REFERENCES issuer,
    shift INTEGER NOT NULL CHECK (shift >= 0),
    unit TEXT NOT NULL UNIQUE,
    minimum INTEGER,
    valuation INTEGER,
    credited INTEGER NOT NULL DEFAULT 0 CHECK (credited >= 0),
    rows INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (issuer_no, shift)
) STRICT;

-- One ledger of an issuer. The bound on work is a level in hashes at a row's time, kept as decimal text.
CREATE TABLE ledger (
    ledger_no INTEGER PRIMARY KEY,
    issuer_no INTEGER NOT NULL REFERENCES issuer,
    store_id BLOB NOT NULL CHECK (length(store_id) = 16),
    first_shift INTEGER NOT NULL,
    shift INTEGER NOT NULL,
    acked_seq INTEGER NOT NULL DEFAULT 0 CHECK (acked_seq >= 0),
    last_time INTEGER NOT NULL DEFAULT 0,
    work_level TEXT NOT NULL DEFAULT '0',
    UNIQUE (issuer_no, store_id)
) STRICT;

-- Every row of a ledger that is settled, also those that were refused; code as in CreditResults, 0 for ok.
CREATE TABLE credit (
    ledger_no INTEGER NOT NULL REFERENCES ledger,
    seq INTEGER NOT NULL,
    shift INTEGER NOT NULL,
    code INTEGER NOT NULL,
    share_hash BLOB NOT NULL CHECK (length(share_hash) = 32),
    header BLOB NOT NULL CHECK (length(header) = 80),
    target BLOB NOT NULL CHECK (length(target) = 32),
    time INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    pubkey BLOB NOT NULL CHECK (length(pubkey) = 33),
    PRIMARY KEY (ledger_no, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE quote (
    quote_no INTEGER PRIMARY KEY,
    quote_id TEXT NOT NULL UNIQUE,
    method TEXT NOT NULL,
    unit TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    amount_paid INTEGER NOT NULL DEFAULT 0,
    amount_issued INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    pubkey BLOB CHECK (length(pubkey) = 33),
    share_hash BLOB UNIQUE CHECK (length(share_hash) = 32),
    ledger_no INTEGER REFERENCES ledger,
    seq INTEGER,
    CHECK (0 <= amount_issued AND amount_issued <= amount_paid),
    CHECK (method <> 'ehash' OR (pubkey NOT NULL AND share_hash NOT NULL AND seq NOT NULL))
) STRICT;
CREATE INDEX quote_by_key ON quote (pubkey, quote_id);
CREATE INDEX quote_mintable ON quote (pubkey, quote_id) WHERE amount_paid > amount_issued;

-- A request that was carried out, by its digest: the same request again gets the same signatures.
CREATE TABLE request (
    request_no INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    kind TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE issue (
    request_no INTEGER NOT NULL REFERENCES request,
    quote_no INTEGER NOT NULL REFERENCES quote,
    amount INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (request_no, quote_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE promise (
    promise_no INTEGER PRIMARY KEY,
    blinded BLOB NOT NULL UNIQUE CHECK (length(blinded) = 33),
    keyset_no INTEGER NOT NULL REFERENCES keyset,
    amount INTEGER NOT NULL CHECK (amount > 0),
    signature BLOB NOT NULL CHECK (length(signature) = 33),
    dleq_e BLOB NOT NULL CHECK (length(dleq_e) = 32),
    dleq_s BLOB NOT NULL CHECK (length(dleq_s) = 32),
    request_no INTEGER NOT NULL REFERENCES request
) STRICT;
CREATE INDEX promise_by_request ON promise (request_no);

CREATE TABLE spent (
    spent_no INTEGER PRIMARY KEY,
    y BLOB NOT NULL UNIQUE CHECK (length(y) = 33),
    keyset_no INTEGER NOT NULL REFERENCES keyset,
    amount INTEGER NOT NULL CHECK (amount > 0),
    witness TEXT,
    request_no INTEGER NOT NULL REFERENCES request
) STRICT;

CREATE VIEW share_quote AS
SELECT quote.share_hash, issuer.identity AS issuer, quote.seq, ledger.store_id, quote.quote_id, quote.amount,
    quote.pubkey AS key, quote.unit, quote.amount_paid AS paid, quote.amount_issued AS issued,
    quote.created_at
FROM quote JOIN ledger USING (ledger_no) JOIN issuer USING (issuer_no);

CREATE VIEW keyset_total AS
SELECT keyset_id, unit,
    (SELECT coalesce(sum(amount), 0) FROM promise WHERE promise.keyset_no = keyset.keyset_no) AS signed,
    (SELECT coalesce(sum(amount), 0) FROM spent WHERE spent.keyset_no = keyset.keyset_no) AS spent,
    issued AS counted_issued, redeemed AS counted_redeemed
FROM keyset;

CREATE VIEW issued_signature AS
SELECT promise.blinded, keyset.keyset_id, promise.amount, promise.signature
FROM promise JOIN keyset USING (keyset_no);
"""

_OPERATIONS = """
-- What is stopped, until somebody lets it go on: issuing, watchdog, method:NAME or unit:NAME.
CREATE TABLE halt (
    scope TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;

-- What operators, and the watchdog, have done.
CREATE TABLE journal (
    journal_no INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
"""

_ISSUES = """
CREATE INDEX issue_by_quote ON issue (quote_no);
"""

# What a quote of the method bolt11 has besides: it is paid when its invoice is.
_INVOICES = """
CREATE TABLE invoice (
    quote_no INTEGER PRIMARY KEY REFERENCES quote,
    request TEXT NOT NULL,
    payment_hash BLOB NOT NULL UNIQUE CHECK (length(payment_hash) = 32),
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX invoice_by_expiry ON invoice (expires_at, quote_no);
"""

_SHIFTS = """
-- How far a shift is, in hashes (decimal text) and ms; NULL before its first row.
-- A shift that was open when shifts did not end yet is `lenient`: it may hold more than fills one.
ALTER TABLE shift ADD COLUMN full_at TEXT;
ALTER TABLE shift ADD COLUMN first_time INTEGER;
ALTER TABLE shift ADD COLUMN work TEXT NOT NULL DEFAULT '0';
ALTER TABLE shift ADD COLUMN ends_in_block INTEGER NOT NULL DEFAULT 0;
ALTER TABLE shift ADD COLUMN lenient INTEGER NOT NULL DEFAULT 0;
ALTER TABLE shift ADD COLUMN opened_at INTEGER;
ALTER TABLE shift ADD COLUMN closed_at INTEGER;
UPDATE shift SET lenient = 1;
"""

_SEED = """
-- The one seed that all keysets of the store come from, whichever process was first.
CREATE TABLE seed (
    seed_no INTEGER PRIMARY KEY CHECK (seed_no = 1),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 16)
) STRICT;
INSERT INTO seed (seed_no, fingerprint) SELECT 1, seed_fingerprint FROM keyset ORDER BY keyset_no LIMIT 1;
"""

# Payments for tokens. A melt is unpaid (0), pending (1) or paid (2). What a pending one has put up are rows
# of `spent` that are pending, and `pending` of their keysets; `blank` are outputs for the change.
_MELTS = """
CREATE TABLE melt (
    melt_no INTEGER PRIMARY KEY,
    quote_id TEXT NOT NULL UNIQUE,
    method TEXT NOT NULL,
    unit TEXT NOT NULL,
    request TEXT NOT NULL,
    payment_hash BLOB NOT NULL CHECK (length(payment_hash) = 32),
    amount INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 9007199254740991),
    amount_msat INTEGER NOT NULL,
    fee_reserve INTEGER NOT NULL CHECK (fee_reserve >= 0),
    expires_at INTEGER NOT NULL,
    mint_quote_no INTEGER REFERENCES quote,
    state INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    updated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    request_no INTEGER UNIQUE REFERENCES request,
    sent_at INTEGER,
    inputs INTEGER NOT NULL DEFAULT 0 CHECK (inputs >= 0),
    input_fee INTEGER NOT NULL DEFAULT 0 CHECK (input_fee >= 0),
    fee INTEGER NOT NULL DEFAULT 0 CHECK (fee >= 0),
    kept INTEGER NOT NULL DEFAULT 0 CHECK (kept >= 0),
    preimage BLOB CHECK (length(preimage) = 32),
    CHECK (state = 0 OR request_no NOT NULL)
) STRICT;
CREATE UNIQUE INDEX melt_of_invoice ON melt (payment_hash) WHERE state > 0;
CREATE INDEX melt_pending ON melt (melt_no) WHERE state = 1;

CREATE TABLE blank (
    melt_no INTEGER NOT NULL REFERENCES melt,
    place INTEGER NOT NULL,
    blinded BLOB NOT NULL UNIQUE CHECK (length(blinded) = 33),
    keyset_no INTEGER NOT NULL REFERENCES keyset,
    PRIMARY KEY (melt_no, place)
) STRICT, WITHOUT ROWID;

ALTER TABLE keyset ADD COLUMN pending INTEGER NOT NULL DEFAULT 0
    CHECK (pending >= 0 AND redeemed + pending <= issued);
ALTER TABLE spent ADD COLUMN pending INTEGER NOT NULL DEFAULT 0 CHECK (pending IN (0, 1));
CREATE INDEX spent_pending ON spent (request_no) WHERE pending = 1;

DROP VIEW keyset_total;
CREATE VIEW keyset_total AS
SELECT keyset_id, unit,
    (SELECT coalesce(sum(amount), 0) FROM promise WHERE promise.keyset_no = keyset.keyset_no) AS signed,
    (SELECT coalesce(sum(amount), 0) FROM spent
        WHERE spent.keyset_no = keyset.keyset_no AND spent.pending = 0) AS spent,
    issued AS counted_issued, redeemed AS counted_redeemed
FROM keyset;
"""

# Issues outlive the rows of their quotes, so they refer to them no more.
_COMPACTION = """
ALTER TABLE shift ADD COLUMN ledger_no INTEGER;
ALTER TABLE shift ADD COLUMN last_seq INTEGER;
CREATE INDEX keyset_by_unit ON keyset (unit);

-- Quotes of closed shifts that have nothing left to mint; ids are UUIDs.
CREATE TABLE compacted (
    quote_no INTEGER PRIMARY KEY,
    share_hash BLOB NOT NULL UNIQUE CHECK (length(share_hash) = 32),
    quote_id BLOB NOT NULL UNIQUE CHECK (length(quote_id) = 16),
    amount INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ledger_no INTEGER NOT NULL,
    seq INTEGER NOT NULL
) STRICT;
-- Each row that leaves `quote` is looked for among what refers to it.
CREATE INDEX melt_by_mint_quote ON melt (mint_quote_no);
CREATE INDEX quote_done ON quote (ledger_no, seq) WHERE amount_issued = amount AND share_hash IS NOT NULL;

CREATE TABLE issue_of_quote (
    request_no INTEGER NOT NULL REFERENCES request,
    quote_no INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (request_no, quote_no)
) STRICT, WITHOUT ROWID;
INSERT INTO issue_of_quote (request_no, quote_no, amount) SELECT request_no, quote_no, amount FROM issue;
DROP TABLE issue;
ALTER TABLE issue_of_quote RENAME TO issue;
CREATE INDEX issue_by_quote ON issue (quote_no);

DROP VIEW share_quote;
CREATE VIEW share_quote AS
SELECT quote.share_hash, issuer.identity AS issuer, quote.seq, ledger.store_id, quote.quote_id, quote.amount,
    quote.pubkey AS key, quote.unit, quote.amount_paid AS paid, quote.amount_issued AS issued,
    quote.created_at
FROM quote JOIN ledger USING (ledger_no) JOIN issuer USING (issuer_no)
UNION ALL
SELECT compacted.share_hash, issuer.identity AS issuer, compacted.seq, ledger.store_id,
    '' AS quote_id, compacted.amount, credit.pubkey AS key, shift.unit,
    compacted.amount AS paid, compacted.amount AS issued, compacted.updated_at AS created_at
FROM compacted JOIN ledger ON ledger.ledger_no = compacted.ledger_no
JOIN issuer ON issuer.issuer_no = ledger.issuer_no
JOIN credit ON credit.ledger_no = compacted.ledger_no AND credit.seq = compacted.seq
JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = credit.shift;
"""

# By which quotes that expired unpaid are found; quotes of shares are paid from the start.
_STALE = """
CREATE INDEX quote_unpaid ON quote (quote_no) WHERE amount_paid = 0;
CREATE INDEX melt_unpaid ON melt (expires_at) WHERE state = 0;
"""

# A shift's compacted quotes are a table of its own, archive_N (`roles.mint.archive`), which is dropped whole.
# What was compacted before goes back to where it came from and is compacted anew.
_ARCHIVES = """
CREATE TABLE archive_era (
    era INTEGER PRIMARY KEY,
    quotes INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER,
    emptied INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One for each shift; how many quotes have gone there, and what they amount to, stays for good.
CREATE TABLE archive (
    archive_no INTEGER PRIMARY KEY,
    ledger_no INTEGER NOT NULL REFERENCES ledger,
    shift INTEGER NOT NULL,
    era INTEGER NOT NULL REFERENCES archive_era,
    quotes INTEGER NOT NULL DEFAULT 0,
    amount INTEGER NOT NULL DEFAULT 0,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER,
    emptied INTEGER NOT NULL DEFAULT 0,
    UNIQUE (ledger_no, shift)
) STRICT;
CREATE INDEX archive_to_end ON archive (archive_no) WHERE ended_at IS NULL;
CREATE INDEX archive_to_empty ON archive (archive_no) WHERE ended_at > 0 AND emptied = 0;

-- The blocks that shares of a shift were built on: where a share may be that has come before.
CREATE TABLE archive_tip (
    previous BLOB NOT NULL CHECK (length(previous) = 32),
    archive_no INTEGER NOT NULL REFERENCES archive,
    PRIMARY KEY (previous, archive_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX archive_tip_of ON archive_tip (archive_no);

-- What has left `quote`, by ranges of numbers, for who counts its rows.
CREATE TABLE archive_sum (
    block INTEGER NOT NULL,
    archive_no INTEGER NOT NULL REFERENCES archive,
    amount INTEGER NOT NULL,
    PRIMARY KEY (block, archive_no)
) STRICT, WITHOUT ROWID;

-- How far the rows of a ledger are compacted, and the hash chain over them (`protocols.ehash.ledger_chain`).
CREATE TABLE compaction (
    ledger_no INTEGER PRIMARY KEY REFERENCES ledger,
    seq INTEGER NOT NULL,
    credited INTEGER NOT NULL,
    link BLOB NOT NULL CHECK (length(link) = 32)
) STRICT;
CREATE TABLE chain_mark (
    ledger_no INTEGER NOT NULL REFERENCES ledger,
    seq INTEGER NOT NULL,
    link BLOB NOT NULL CHECK (length(link) = 32),
    PRIMARY KEY (ledger_no, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO quote (quote_no, quote_id, method, unit, amount, amount_paid, amount_issued, updated_at,
    created_at, pubkey, share_hash, ledger_no, seq)
SELECT compacted.quote_no,
    lower(substr(hex(quote_id), 1, 8) || '-' || substr(hex(quote_id), 9, 4) || '-'
    || substr(hex(quote_id), 13, 4) || '-' || substr(hex(quote_id), 17, 4) || '-'
    || substr(hex(quote_id), 21)),
    'ehash', shift.unit, compacted.amount, compacted.amount, compacted.amount, compacted.updated_at,
    compacted.updated_at, credit.pubkey, compacted.share_hash, compacted.ledger_no, compacted.seq
FROM compacted
JOIN ledger ON ledger.ledger_no = compacted.ledger_no
JOIN credit ON credit.ledger_no = compacted.ledger_no AND credit.seq = compacted.seq
JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = credit.shift;

DROP VIEW share_quote;
CREATE VIEW share_quote AS
SELECT quote.share_hash, issuer.identity AS issuer, quote.seq, ledger.store_id, quote.quote_id, quote.amount,
    quote.pubkey AS key, quote.unit, quote.amount_paid AS paid, quote.amount_issued AS issued,
    quote.created_at
FROM quote JOIN ledger USING (ledger_no) JOIN issuer USING (issuer_no);
DROP TABLE compacted;
"""

MIGRATIONS: tuple[Migration, ...] = (
    (1, "first", _FIRST),
    (2, "operations", _OPERATIONS),
    (3, "issues", _ISSUES),
    (4, "invoices", _INVOICES),
    (5, "shifts", _SHIFTS),
    (6, "seed", _SEED),
    (7, "melts", _MELTS),
    (8, "compaction", _COMPACTION),
    (9, "stale quotes", _STALE),
    (10, "archives", _ARCHIVES),
    (11, "chain", CHAIN),
)
