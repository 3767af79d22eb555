"""The mint's keysets as the wallet has checked them; what was stored once is never taken in another form."""

import json
from collections.abc import Collection, Iterable

from protocols.cashu.keyset import Keyset, short_id
from roles.runtime.storage import Connection, Database, Row
from roles.wallet.errors import MintDishonest, NoKeysetError
from roles.wallet.mint_api import KeysetHead
from roles.wallet.mint_client import MintClient


class KeysetBook:
    """Keysets of one mint, from memory, from the store, or from the mint."""

    def __init__(self, database: Database, mint: MintClient) -> None:
        self._database = database
        self._mint = mint
        self._heads: dict[str, KeysetHead] = {}
        self._keysets: dict[str, Keyset] = {}

    async def active(self, unit: str) -> Keyset:
        """A keyset that signs `unit` now; raises NoKeysetError and what the client raises."""
        head = self._active_head(unit)
        if head is None:
            await self.refresh()
            head = self._active_head(unit)
        if head is None:
            raise NoKeysetError(f"the mint has no active keyset for {unit}")
        return await self.keyset(head.keyset_id)

    async def named(self, ids: Collection[str]) -> dict[str, Keyset]:
        """The keysets that full or short ids name, by their full ids; unknown ones are left out."""
        known = await self._known_ids()
        if not all(_matches(known, each) for each in ids):
            await self.refresh()
            known = await self._known_ids()
        wanted = {full for each in ids for full in _matches(known, each)}
        return {full: await self.keyset(full) for full in sorted(wanted)}

    async def everything(self) -> list[Keyset]:
        """All keysets of the mint, the inactive ones too."""
        await self.refresh()
        return [await self.keyset(keyset_id) for keyset_id in self._heads]

    async def keyset(self, keyset_id: str) -> Keyset:
        """One keyset with its keys; raises MintDishonest when the mint now describes it in another way."""
        known = self._keysets.get(keyset_id) or await self._database.read(lambda c: _load(c, keyset_id))
        if known is None:
            fetched = known = await self._mint.keys(keyset_id)
            await self._database.write(lambda c: _store(c, self._mint.url, fetched))
        head = self._heads.get(keyset_id)
        if head is not None and head.unit != known.unit:
            raise MintDishonest(f"the mint says that keyset {keyset_id} is of {head.unit}")
        self._keysets[keyset_id] = known
        return known

    async def refresh(self) -> None:
        """Ask the mint which keysets it has and which of them sign."""
        self._heads = {head.keyset_id: head for head in await self._mint.keysets()}
        inactive = [(head.keyset_id,) for head in self._heads.values() if not head.active]
        await self._database.write(
            lambda c: c.executemany("UPDATE keyset SET active = 0 WHERE id = ? AND active", inactive)
        )

    async def _known_ids(self) -> set[str]:
        stored = await self._database.read(lambda c: c.execute("SELECT id FROM keyset").fetchall())
        return {row["id"] for row in stored} | self._heads.keys()

    def _active_head(self, unit: str) -> KeysetHead | None:
        heads = [head for head in self._heads.values() if head.active and head.unit == unit]
        return min(heads, key=lambda head: head.keyset_id, default=None)


def _matches(known: Iterable[str], keyset_id: str) -> list[str]:
    return [full for full in known if full == keyset_id or short_id(full) == keyset_id]


def _load(connection: Connection, keyset_id: str) -> Keyset | None:
    row: Row | None = connection.execute("SELECT * FROM keyset WHERE id = ?", (keyset_id,)).fetchone()
    if row is None:
        return None
    keys = {int(amount): bytes.fromhex(key) for amount, key in json.loads(row["keys"]).items()}
    return Keyset(row["id"], row["unit"], keys, row["input_fee_ppk"], row["final_expiry"])


def _store(connection: Connection, mint_url: str, keyset: Keyset) -> None:
    keys = json.dumps({str(amount): key.hex() for amount, key in keyset.keys.items()})
    connection.execute(
        "INSERT INTO keyset VALUES (?, ?, ?, 1, ?, ?, ?) ON CONFLICT DO NOTHING",
        (keyset.keyset_id, mint_url, keyset.unit, keyset.input_fee_ppk, keyset.final_expiry, keys),
    )
