"""The wallet's tables.

`identity` names the key of each user identity, `quote` each share that the mint owes tokens for, `request`
each mint request with the exact bytes that a retry repeats, `proof` the tokens. `counter` and `identity`
are written before a number of theirs is used, so that no crash makes one serve twice. Times are Unix
milliseconds; names are raw bytes, because a user identity need not be UTF-8. A quote belongs to one request
at a time; `attempt` keeps the requests that were given up, whose outputs may still turn out to have been
signed.

An identity with an index below zero is a key that is not of the seed, brought to claim what it has earned.
What identities have minted is added up by a trigger, in floats, because amounts may sum to more than an
integer holds. `stranger` is what was heard of keys that others hold.

`exchange` holds every request that spends tokens or mints a paid invoice, with its exact bytes, the tokens
that it spends (`proof.exchange_id`) and the outputs that it asks for. `token` is what was handed out: its
tokens (`proof.token_id`) are pending until the mint says that they are spent. `event` is the history: what
each change of the balance was, written with the change itself. `invoice` holds the mint's invoices, each
locked to a key of its own whose index lies above all those of workers. `gift` is what the faucet has given
within a day.
"""

from roles.runtime.storage import Migration

_FIRST = """
CREATE TABLE mint (
    url TEXT PRIMARY KEY,
    public_key BLOB,
    quote_key BLOB,
    seen_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE keyset (
    id TEXT PRIMARY KEY,
    mint_url TEXT NOT NULL,
    unit TEXT NOT NULL,
    active INTEGER NOT NULL,
    input_fee_ppk INTEGER NOT NULL,
    final_expiry INTEGER,
    keys TEXT NOT NULL
) STRICT;

CREATE TABLE counter (
    keyset_id TEXT PRIMARY KEY,
    next INTEGER NOT NULL CHECK (next >= 0)
) STRICT;

CREATE TABLE identity (
    key_index INTEGER PRIMARY KEY,
    name BLOB UNIQUE,
    public_key BLOB NOT NULL UNIQUE CHECK (length(public_key) = 33),
    made_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    keyset_id TEXT NOT NULL,
    first_counter INTEGER NOT NULL,
    amounts TEXT NOT NULL,
    path TEXT NOT NULL,
    body BLOB,
    form TEXT NOT NULL CHECK (form IN ('amended', 'legacy')),
    state TEXT NOT NULL CHECK (state IN ('open', 'answered', 'abandoned', 'disputed')),
    opened_ms INTEGER NOT NULL,
    settled_ms INTEGER
) STRICT;
CREATE INDEX request_unsettled ON request (id) WHERE state IN ('open', 'disputed');

CREATE TABLE quote (
    share_hash BLOB PRIMARY KEY CHECK (length(share_hash) = 32),
    quote_id TEXT,
    key_index INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    unit TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('notice', 'lookup')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'requested', 'minted', 'dropped')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_ms INTEGER NOT NULL,
    noticed_ms INTEGER NOT NULL,
    minted_ms INTEGER,
    request_id INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX quote_pending ON quote (unit, due_ms) WHERE state = 'pending';
CREATE INDEX quote_requested ON quote (request_id) WHERE state = 'requested';

CREATE TABLE attempt (
    share_hash BLOB NOT NULL,
    request_id INTEGER NOT NULL,
    PRIMARY KEY (share_hash, request_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE proof (
    y BLOB PRIMARY KEY CHECK (length(y) = 33),
    keyset_id TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    secret TEXT NOT NULL,
    signature BLOB NOT NULL,
    dleq_e BLOB,
    dleq_s BLOB,
    counter INTEGER,
    state TEXT NOT NULL CHECK (state IN ('unspent', 'pending', 'spent')),
    received_ms INTEGER NOT NULL,
    request_id INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX proof_state ON proof (state, keyset_id, amount);
CREATE INDEX proof_request ON proof (request_id);
"""

_WORKERS = """
ALTER TABLE identity ADD COLUMN minted REAL NOT NULL DEFAULT 0;
ALTER TABLE identity ADD COLUMN minted_quotes INTEGER NOT NULL DEFAULT 0;
UPDATE identity SET minted = earned.ehash, minted_quotes = earned.quotes FROM (
    SELECT key_index, total(amount) AS ehash, count(*) AS quotes FROM quote
    WHERE state = 'minted' GROUP BY key_index
) AS earned WHERE earned.key_index = identity.key_index;
CREATE TRIGGER quote_is_minted AFTER UPDATE OF state ON quote
WHEN NEW.state = 'minted' AND OLD.state <> 'minted' BEGIN
    UPDATE identity SET minted = minted + NEW.amount, minted_quotes = minted_quotes + 1
    WHERE key_index = NEW.key_index;
END;

CREATE TABLE stranger (
    public_key BLOB NOT NULL CHECK (length(public_key) = 33),
    name BLOB NOT NULL,
    quotes INTEGER NOT NULL,
    ehash REAL NOT NULL,
    heard_ms INTEGER NOT NULL,
    PRIMARY KEY (public_key, name)
) STRICT, WITHOUT ROWID;
"""

_EXCHANGES = """
CREATE TABLE exchange (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('send', 'receive', 'consolidate', 'mint', 'melt')),
    unit TEXT NOT NULL,
    keyset_id TEXT NOT NULL,
    fee INTEGER NOT NULL CHECK (fee >= 0),
    outputs TEXT NOT NULL,
    plan TEXT NOT NULL,
    path TEXT NOT NULL,
    body BLOB,
    state TEXT NOT NULL CHECK (state IN ('open', 'answered', 'refused', 'disputed')),
    opened_ms INTEGER NOT NULL,
    settled_ms INTEGER
) STRICT;
CREATE INDEX exchange_open ON exchange (id) WHERE state = 'open';

CREATE TABLE token (
    id INTEGER PRIMARY KEY,
    unit TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    state TEXT NOT NULL CHECK (state IN ('open', 'claimed', 'returned')),
    text TEXT,
    memo TEXT,
    locked INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    settled_ms INTEGER
) STRICT;
CREATE INDEX token_open ON token (id) WHERE state = 'open';

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    unit TEXT NOT NULL,
    amount INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    note TEXT,
    token_id INTEGER,
    exchange_id INTEGER
) STRICT;

ALTER TABLE proof ADD COLUMN exchange_id INTEGER;
ALTER TABLE proof ADD COLUMN token_id INTEGER;
ALTER TABLE proof ADD COLUMN blinding BLOB;
CREATE INDEX proof_exchange ON proof (exchange_id) WHERE exchange_id IS NOT NULL;
CREATE INDEX proof_token ON proof (token_id) WHERE token_id IS NOT NULL;

INSERT INTO event (time_ms, kind, unit, amount, fee)
SELECT min(proof.received_ms), iif(proof.request_id IS NULL, 'restore', 'mint'), coalesce(keyset.unit, ''),
    sum(proof.amount), 0
FROM proof LEFT JOIN keyset ON keyset.id = proof.keyset_id WHERE proof.state = 'unspent'
GROUP BY proof.request_id, proof.keyset_id ORDER BY 1;
"""

_INVOICES = """
CREATE TABLE invoice (
    id INTEGER PRIMARY KEY,
    key_index INTEGER NOT NULL UNIQUE,
    quote_id TEXT,
    unit TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    text TEXT,
    expires INTEGER,
    state TEXT NOT NULL CHECK (state IN ('open', 'minted', 'expired')),
    made_ms INTEGER NOT NULL,
    settled_ms INTEGER
) STRICT;
CREATE INDEX invoice_open ON invoice (id) WHERE state = 'open';
"""

_GIFTS = """
CREATE TABLE gift (
    id INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0)
) STRICT;
"""

MIGRATIONS: tuple[Migration, ...] = (
    (1, "first", _FIRST),
    (2, "workers", _WORKERS),
    (3, "exchanges", _EXCHANGES),
    (4, "invoices", _INVOICES),
    (5, "gifts", _GIFTS),
)
