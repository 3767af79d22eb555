"""The mint's keysets as the wallet has checked them; what was stored once is never taken in another form."""

import contextlib
import json
from collections.abc import Collection, Iterable

from protocols.cashu.keyset import Keyset, short_id
from protocols.ehash.shift import Unit, is_ehash, parse_unit
from roles.runtime.storage import Connection, Database, Row
from roles.wallet.errors import MintDishonest, MintRefused, MintUnreachable, NoKeysetError
from roles.wallet.mint_api import KeysetHead
from roles.wallet.mint_client import MintClient

MAX_PAGES = 1000
"""Pages of shifts that a mint is asked for."""


class KeysetBook:
    """Keysets of one mint, from memory, from the store, or from the mint.

    A mint may show its units by view: money under `/v1`, the newest ehash under `/hash/v1`, each unit of it
    under `/hash/<unit>/v1`. One without views shows all under `/v1`.
    """

    def __init__(self, database: Database, mint: MintClient) -> None:
        self._database = database
        self._mint = mint
        self._heads: dict[str, KeysetHead] = {}
        self._keysets: dict[str, Keyset] = {}
        self._viewed: set[str] = set()

    async def active(self, unit: str) -> Keyset:
        """A keyset that signs `unit` now; raises NoKeysetError and what the client raises."""
        head = self._active_head(unit)
        if head is None:
            await self.refresh(unit)
            head = self._active_head(unit)
        if head is None:
            raise NoKeysetError(f"the mint has no active keyset for {unit}")
        return await self.keyset(head.keyset_id)

    async def named(self, ids: Collection[str], unit: str | None) -> dict[str, Keyset]:
        """The keysets that full or short ids name, by their full ids; unknown ones are left out. `unit` is
        where they may be looked for.
        """
        known = await self._known_ids()
        if not all(_matches(known, each) for each in ids):
            await self.refresh(unit)
            known = await self._known_ids()
        wanted = {full for each in ids for full in _matches(known, each)}
        return {full: await self.keyset(full) for full in sorted(wanted)}

    async def everything(self) -> list[Keyset]:
        """All keysets of the mint, the inactive ones too: of money, and of every shift from the first on."""
        await self.refresh()
        with contextlib.suppress(MintRefused):
            self._take(await self._mint.keysets("/hash"))
        await self._take_all_shifts()
        newest: dict[bytes, int] = {}
        for head in self._heads.values():
            if is_ehash(head.unit):
                unit = parse_unit(head.unit)
                newest[unit.issuer] = max(unit.shift, newest.get(unit.issuer, 0))
        shown = {head.unit for head in self._heads.values()}
        for issuer, last in newest.items():
            for shift in range(last):
                if (name := Unit(issuer, shift).name) not in shown:
                    await self._look_at(name)
        return [await self.keyset(keyset_id) for keyset_id in self._heads]

    async def _take_all_shifts(self) -> None:
        """Ask for every shift that the mint ever had, a hundred at a time; other mints do not tell."""
        with contextlib.suppress(MintRefused):
            cursor: str | None = None
            for _ in range(MAX_PAGES):
                heads, cursor = await self._mint.shifts(cursor)
                self._take(head for head in heads if head.keyset_id not in self._heads)
                if cursor is None:
                    return

    async def newest_ehash(self) -> str:
        """The unit of the newest shift; raises NoKeysetError."""
        try:
            heads = await self._mint.keysets("/hash")
        except MintRefused:
            heads = await self._mint.keysets()
        self._take(heads)
        units = [head.unit for head in heads if head.active and is_ehash(head.unit)]
        if not units:
            raise NoKeysetError("the mint has no ehash")
        return max(units, key=lambda unit: parse_unit(unit).shift)

    async def url(self, unit: str) -> str:
        """The address at which wallets find a unit alone, where the mint has such; else the mint's own."""
        if is_ehash(unit) and unit not in self._viewed:
            with contextlib.suppress(MintUnreachable):
                await self._look_at(unit)
        return f"{self._mint.url}/hash/{unit}" if unit in self._viewed else self._mint.url

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

    async def refresh(self, unit: str | None = None) -> None:
        """Ask the mint which keysets it has, of a unit or of money, and which of them sign."""
        if unit is None or not is_ehash(unit) or not await self._look_at(unit):
            self._take(await self._mint.keysets())
        inactive = [(head.keyset_id,) for head in self._heads.values() if not head.active]
        await self._database.write(
            lambda c: c.executemany("UPDATE keyset SET active = 0 WHERE id = ? AND active", inactive)
        )

    async def _look_at(self, unit: str) -> bool:
        """Ask for a unit by its view; False when the mint has none."""
        try:
            heads = await self._mint.keysets(f"/hash/{unit}")
        except MintRefused:
            return False
        self._viewed.add(unit)
        self._take(heads)
        return True

    def _take(self, heads: Iterable[KeysetHead]) -> None:
        self._heads |= {head.keyset_id: head for head in heads}

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
