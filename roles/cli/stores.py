"""Reads the daemons' stores, read-only and each in one snapshot, beside daemons that run or are stopped."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from protocols.cashu.deterministic import SecretSource
from protocols.cashu.keyset import parse_keys
from protocols.ehash.amount import Valuation
from protocols.ehash.errors import CreditCode
from protocols.ehash.ledger_chain import Link
from protocols.ehash.shift import Unit
from roles.cli.auditing.credits import CreditRow
from roles.cli.auditing.ledger import LedgerRow
from roles.cli.auditing.mint import KeysetTotals, QuoteRow
from roles.cli.auditing.payments import Melt, PaidQuote
from roles.cli.auditing.shifts import ShiftTotals
from roles.cli.auditing.summary import Past
from roles.cli.auditing.wallet import Account, HandoutRow, ProofRow, SignatureRow, WalletQuote
from roles.credit import batch
from roles.credit.ledger_rows import rows_after
from roles.mint import archive
from roles.mint.store import find_store
from roles.runtime.storage import Connection, ReadOnlyConnection, Row, open_readonly
from roles.wallet.seed import seed_from_words


def open_store(state: Path, role: str, name: str) -> ReadOnlyConnection | None:
    """Open a daemon's store in a state directory; None if the daemon has never run there."""
    place = find_store(state / role) if role == "mint" else state / role / name
    if place is None or (isinstance(place, Path) and not place.exists()):
        return None
    return open_readonly(place)


@dataclass(frozen=True, slots=True)
class Block:
    """A block that the pool found; `in_chain` by the pool's last look at the node."""

    height: int
    in_chain: bool


class PoolStore:
    """The pool's ledger."""

    FILE = "ledger.sqlite"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        row = connection.execute("SELECT store_id, identity FROM ledger").fetchone()
        self.store_id: bytes = row["store_id"] if row else b""
        self.identity: bytes = row["identity"] if row else b""

    def rows(self) -> Iterator[LedgerRow]:
        """Yield every attributed share in the order of the ledger."""
        for row in self._connection.execute("SELECT * FROM audit_share ORDER BY seq"):
            refusal = None if row["refusal"] is None else CreditCode(row["refusal"]).label
            yield LedgerRow(
                seq=row["seq"],
                time=row["time"],
                share_hash=row["share_hash"],
                header=row["header"],
                target=int.from_bytes(row["target"], "little"),
                minimum=row["minimum"],
                valuation=Valuation(row["valuation"]),
                amount=row["amount"],
                key=row["key"],
                unit=Unit(self.identity, row["shift"]).name,
                refusal=refusal,
            )

    def links(self) -> Iterator[Link]:
        """Yield what a summary of the ledger chains."""
        rows = self._connection.execute(
            "SELECT seq, share_hash, amount, key, refusal FROM audit_share ORDER BY seq"
        )
        for row in rows:
            amount = row["amount"] if row["refusal"] is None else 0
            yield Link(row["seq"], row["share_hash"], amount, row["key"])

    def unattributed(self) -> int:
        """Return the number of shares whose channel named no key."""
        return int(self._connection.execute("SELECT count(*) FROM unattributed").fetchone()[0])

    def minimum(self) -> int | None:
        """Return the bits of one ehash in the newest row, None for an empty ledger."""
        rows = rows_after(self._connection, self.last_seq() - 1, 1)
        return rows[0].pricing.minimum if rows else None

    def last_seq(self) -> int:
        """Return the highest sequence number, 0 for an empty ledger."""
        return batch.last_row(self._connection)[0]

    def blocks(self) -> list[Block]:
        """Return every block found, in the order of finding."""
        rows = self._connection.execute("SELECT height, status FROM audit_block ORDER BY number")
        return [Block(row["height"], row["status"] == "in_chain") for row in rows]

    def times_after(self, seq: int) -> dict[bytes, int]:
        """Return when each share after a place in the ledger was made durable, Unix milliseconds."""
        return {row.share_hash: row.time for row in batch.rows_from(self._connection, seq + 1)}


class MintStore:
    """The mint's store."""

    FILE = "mint.sqlite"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def quotes(self) -> Iterator[QuoteRow]:
        """Yield every ehash quote."""
        for row in self._connection.execute("SELECT * FROM share_quote ORDER BY issuer, store_id, seq"):
            share = row["share_hash"], row["issuer"], row["store_id"], row["seq"]
            yield QuoteRow(*share, row["amount"], row["key"], row["unit"], row["paid"], row["issued"])
        for shift in self._archives():
            source = shift["identity"], shift["store_id"]
            for quote in archive.every(self._connection, shift["archive_no"]):
                amount = quote["amount"]
                yield QuoteRow(
                    quote["share_hash"], *source, quote["seq"], amount, None, shift["unit"], amount, amount
                )

    def _archives(self) -> list[Row]:
        """Return the archives that hold quotes."""
        return self._connection.execute(
            "SELECT archive_no, identity, store_id, shift.unit FROM archive"
            " JOIN ledger ON ledger.ledger_no = archive.ledger_no"
            " JOIN issuer ON issuer.issuer_no = ledger.issuer_no"
            " JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = archive.shift"
            " WHERE ended_at IS NULL ORDER BY archive_no"
        ).fetchall()

    def shifts(self) -> Iterator[ShiftTotals]:
        """Yield every shift's sums."""
        rows = self._connection.execute(
            "SELECT unit, credited, coalesce(sum(quotes), 0) AS quotes, coalesce(sum(amount), 0) AS amount,"
            " max(ended_at) AS ended_at FROM shift"
            " LEFT JOIN (SELECT archive.*, issuer_no FROM archive JOIN ledger USING (ledger_no)) AS kept"
            " ON kept.issuer_no = shift.issuer_no AND kept.shift = shift.shift GROUP BY unit, credited"
        )
        for row in rows:
            ended = row["ended_at"] is not None
            yield ShiftTotals(row["unit"], row["credited"], int(row["quotes"]), int(row["amount"]), ended)

    def past(self, issuer: bytes, store_id: bytes) -> Past:
        """Return what is left of the rows of a ledger that are compacted."""
        row = self._connection.execute(
            "SELECT compaction.* FROM compaction JOIN ledger USING (ledger_no) JOIN issuer USING (issuer_no)"
            " WHERE identity = ? AND store_id = ?",
            (issuer, store_id),
        ).fetchone()
        if row is None:
            return Past()
        marks = self._connection.execute(
            "SELECT seq, link FROM chain_mark WHERE ledger_no = ?", (row["ledger_no"],)
        ).fetchall()
        chain = {mark["seq"]: bytes(mark["link"]) for mark in marks} | {row["seq"]: bytes(row["link"])}
        return Past(row["seq"], row["credited"], chain)

    def credits(self) -> Iterator[CreditRow]:
        """Yield every settled row of every ledger."""
        rows = self._connection.execute(
            "SELECT issuer.identity, ledger.store_id, credit.*, shift.unit, shift.minimum, shift.valuation"
            " FROM credit JOIN ledger USING (ledger_no) JOIN issuer USING (issuer_no)"
            " JOIN shift ON shift.issuer_no = ledger.issuer_no AND shift.shift = credit.shift"
        )
        for row in rows:
            yield CreditRow(
                issuer=row["identity"],
                store_id=row["store_id"],
                seq=row["seq"],
                share_hash=row["share_hash"],
                header=row["header"],
                target=int.from_bytes(row["target"], "little"),
                minimum=row["minimum"],
                valuation=Valuation(row["valuation"]),
                key=row["pubkey"],
                unit=row["unit"],
                refusal=CreditCode(row["code"]).label if row["code"] else None,
            )

    def ledgers(self) -> list[tuple[bytes, bytes]]:
        """Return every issuer's identity with the store id of each of its ledgers."""
        rows = self._connection.execute("SELECT identity, store_id FROM ledger JOIN issuer USING (issuer_no)")
        return [(row[0], row[1]) for row in rows]

    def links(self, issuer: bytes, store_id: bytes) -> Iterator[Link]:
        """Yield what a summary of one ledger chains behind its past."""
        rows = self._connection.execute(
            "SELECT credit.seq, credit.share_hash, coalesce(quote.amount, 0) AS amount, credit.pubkey AS key"
            " FROM credit JOIN ledger USING (ledger_no) JOIN issuer USING (issuer_no)"
            " LEFT JOIN quote ON quote.share_hash = credit.share_hash"
            " AND quote.ledger_no = credit.ledger_no AND quote.seq = credit.seq"
            " WHERE identity = ? AND store_id = ? AND credit.seq > ? ORDER BY credit.seq",
            (issuer, store_id, self.past(issuer, store_id).seq),
        )
        for row in rows:
            yield Link(row["seq"], row["share_hash"], row["amount"], row["key"])

    def quote_count(self) -> int:
        """Return the number of ehash quotes."""
        asked = "SELECT (SELECT count(*) FROM share_quote) + (SELECT coalesce(sum(quotes), 0) FROM archive)"
        return int(self._connection.execute(asked).fetchone()[0])

    def keysets(self) -> Iterator[KeysetTotals]:
        """Yield every keyset's sums."""
        for row in self._connection.execute("SELECT * FROM keyset_total"):
            yield KeysetTotals(*row)

    def paid_quotes(self) -> Iterator[PaidQuote]:
        """Yield every quote that is paid by invoice."""
        rows = self._connection.execute(
            "SELECT quote_no, unit, amount, amount_paid, amount_issued FROM quote"
            " JOIN invoice USING (quote_no)"
        )
        for row in rows:
            yield PaidQuote(f"number {row['quote_no']}", *row[1:])

    def melts(self) -> Iterator[Melt]:
        """Yield every melt that is paid or pending."""
        rows = self._connection.execute(
            "WITH change AS (SELECT request_no, sum(amount) AS amount FROM promise"
            "  WHERE request_no IN (SELECT request_no FROM melt) GROUP BY request_no),"
            " token AS (SELECT request_no, sum(CASE pending WHEN 0 THEN amount ELSE 0 END) AS spent,"
            "  sum(CASE pending WHEN 1 THEN amount ELSE 0 END) AS pending FROM spent"
            "  WHERE request_no IN (SELECT request_no FROM melt) GROUP BY request_no)"
            " SELECT melt_no, unit, state, inputs, melt.amount + input_fee + fee + kept AS cost,"
            " coalesce(change.amount, 0) AS change, coalesce(token.spent, 0) AS spent,"
            " coalesce(token.pending, 0) AS pending"
            " FROM melt LEFT JOIN change USING (request_no) LEFT JOIN token USING (request_no)"
            " WHERE state > 0 ORDER BY melt_no"
        )
        for row in rows:
            yield Melt(
                f"number {row['melt_no']}",
                row["unit"],
                row["state"] == 2,
                row["inputs"],
                row["cost"],
                row["change"],
                row["spent"],
                row["pending"],
            )

    def swap_fees(self) -> dict[str, int]:
        """Return what swaps have cost by unit, from the fees of their inputs' keysets."""
        rows = self._connection.execute(
            "SELECT unit, sum((ppk + 999) / 1000) AS fees FROM ("
            "  SELECT unit, sum(input_fee_ppk) AS ppk FROM spent JOIN keyset USING (keyset_no)"
            "  JOIN request USING (request_no) WHERE kind = 'swap' AND input_fee_ppk > 0"
            "  GROUP BY unit, request_no) AS swap GROUP BY unit"
        )
        return {row["unit"]: row["fees"] for row in rows}

    def signatures(self) -> dict[bytes, SignatureRow]:
        """Return every blind signature by the point it signed."""
        rows = self._connection.execute("SELECT blinded, keyset_id, amount, signature FROM issued_signature")
        return {row[0]: SignatureRow(row[1], row[2], row[3]) for row in rows}

    def spent(self) -> set[bytes]:
        """Return the name (Y) of every token that was redeemed."""
        return {row["y"] for row in self._connection.execute("SELECT y FROM spent WHERE pending = 0")}

    def acked(self, issuer: bytes, store_id: bytes) -> int:
        """Return the highest sequence number that is settled for a ledger of an issuer."""
        row = self._connection.execute(
            "SELECT max(acked_seq) FROM ledger JOIN issuer USING (issuer_no)"
            " WHERE identity = ? AND store_id = ?",
            (issuer, store_id),
        ).fetchone()
        return row[0] or 0


class WalletStore:
    """The proxy's wallet."""

    FILE = "wallet.sqlite"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        columns = connection.execute("SELECT name FROM pragma_table_info('proof')")
        # A store that no daemon has opened since there is a history has none.
        self._has_history = any(row["name"] == "exchange_id" for row in columns)

    def accounts(self) -> Iterator[Account]:
        """Yield for each unit what its history comes to, and what is held or under way."""
        if not self._has_history:
            return
        sums: dict[str, list[int]] = {}
        for row in self._connection.execute("SELECT unit, amount FROM event"):
            sums.setdefault(row["unit"], [0, 0, 0])[0] += row["amount"]
        rows = self._connection.execute(
            "SELECT coalesce(keyset.unit, '') AS unit, proof.amount, proof.state FROM proof"
            " LEFT JOIN keyset ON keyset.id = proof.keyset_id WHERE proof.state = 'unspent'"
            " OR (proof.state = 'pending' AND proof.exchange_id IS NOT NULL)"
        )
        for row in rows:
            sums.setdefault(row["unit"], [0, 0, 0])[1 + (row["state"] == "pending")] += row["amount"]
        for unit, (told, held, under_way) in sums.items():
            yield Account(unit, told, held, under_way)

    def handouts(self) -> Iterator[HandoutRow]:
        """Yield every token that was handed out, with the sums of its proofs."""
        if not self._has_history:
            return
        rows = self._connection.execute(
            "SELECT token.id, token.amount, token.state, coalesce(sum(proof.amount), 0) AS whole,"
            " coalesce(sum(proof.amount) FILTER (WHERE proof.state = 'pending'), 0) AS pending"
            " FROM token LEFT JOIN proof ON proof.token_id = token.id GROUP BY token.id"
        )
        for row in rows:
            yield HandoutRow(row["id"], row["amount"], row["state"], row["whole"], row["pending"])

    def spent(self) -> Iterator[bytes]:
        """Yield the name (Y) of every token that is spent as far as the wallet knows."""
        for row in self._connection.execute("SELECT y FROM proof WHERE state = 'spent'"):
            yield row["y"]

    def quotes(self) -> Iterator[WalletQuote]:
        """Yield every credit that the wallet knows."""
        for row in self._connection.execute("SELECT share_hash, amount, unit, state FROM quote"):
            yield WalletQuote(row["share_hash"], row["amount"], row["unit"], row["state"] == "minted")

    def named_quotes(self) -> Iterator[tuple[str, WalletQuote]]:
        """Yield every minted credit with the id by which the mint knows it."""
        rows = self._connection.execute(
            "SELECT quote_id, share_hash, amount, unit FROM quote"
            " WHERE state = 'minted' AND quote_id IS NOT NULL"
        )
        for row in rows:
            yield row["quote_id"], WalletQuote(row["share_hash"], row["amount"], row["unit"], True)

    def secrets(self) -> Iterator[str]:
        """Yield the secret of every unspent token."""
        for row in self._connection.execute("SELECT secret FROM proof WHERE state = 'unspent'"):
            yield row["secret"]

    def minted_by_unit(self) -> dict[str, int]:
        """Return what was minted, in ehash."""
        rows = self._connection.execute(
            "SELECT unit, sum(amount) FROM quote WHERE state = 'minted' GROUP BY unit"
        )
        return {row[0]: row[1] for row in rows}

    def held_by_unit(self) -> dict[str, int]:
        """Return what all tokens that the wallet ever had amount to."""
        rows = self._connection.execute(
            "SELECT keyset.unit, sum(proof.amount) FROM proof JOIN keyset ON keyset.id = proof.keyset_id"
            " GROUP BY keyset.unit"
        )
        return {row[0]: row[1] for row in rows}

    def minted_count(self) -> int:
        """Return the number of shares whose tokens are stored."""
        return int(
            self._connection.execute("SELECT count(*) FROM quote WHERE state = 'minted'").fetchone()[0]
        )

    def minted_at(self) -> dict[bytes, int]:
        """Return when each share's tokens were stored, Unix milliseconds."""
        rows = self._connection.execute("SELECT share_hash, minted_ms FROM quote WHERE state = 'minted'")
        return {row[0]: row[1] for row in rows}

    def keys(self) -> dict[str, dict[int, bytes]]:
        """Return the mint's public keys by keyset and amount."""
        rows = self._connection.execute("SELECT id, keys FROM keyset")
        return {row["id"]: parse_keys(orjson.loads(row["keys"])) for row in rows}

    def proofs(self, words: str) -> Iterator[ProofRow]:
        """Yield the tokens that are not spent and whose blinding factors are known: those of the seed words,
        and what was handed out with a lock.
        """
        seed = seed_from_words(words)
        sources: dict[str, SecretSource] = {}
        rows = self._connection.execute("SELECT * FROM proof WHERE state <> 'spent' ORDER BY y")
        for row in rows:
            if row["counter"] is None:
                if self._has_history and row["blinding"] is not None:
                    yield ProofRow(
                        row["keyset_id"], row["amount"], row["secret"], row["signature"], row["blinding"]
                    )
                continue
            keyset_id = row["keyset_id"]
            if keyset_id not in sources:
                sources[keyset_id] = SecretSource(seed, keyset_id)
            blinding = sources[keyset_id].derive(row["counter"]).blinding
            yield ProofRow(keyset_id, row["amount"], row["secret"], row["signature"], blinding)

    def balance(self) -> tuple[int, str]:
        """Return the sum of all unspent ehash and the newest unit's name."""
        ehash = "FROM proof JOIN keyset ON keyset.id = keyset_id WHERE unit GLOB 'hash_*'"
        total = self._connection.execute(
            f"SELECT coalesce(sum(amount), 0) {ehash} AND state = 'unspent'"
        ).fetchone()
        newest = self._connection.execute(f"SELECT unit {ehash} ORDER BY received_ms DESC LIMIT 1").fetchone()
        return total[0], newest[0] if newest else ""
