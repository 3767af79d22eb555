"""Which stores of a state directory commands look into, and audits of more ledgers than one."""

import asyncio
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import MAX_TARGET
from protocols.ehash.amount import Valuation, share_amount
from roles.cli import db, whereabouts
from roles.cli.auditing.sides import audit
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry
from roles.credit.shift_roll import Pricing
from roles.pool import schema as of_pool
from roles.runtime import sysexits
from roles.runtime.storage import Database, Migration
from roles.sv1_proxy import schema as of_sv1

KEY = public_key(bytes(31) + b"\x02")


def ledger(state: Path, role: str, migrations: tuple[Migration, ...], secret: int, rows: int) -> None:
    async def fill() -> None:
        (state / role).mkdir(parents=True)
        async with Database.open(state / role / "ledger.sqlite", migrations) as database:
            identity = public_key(secret.to_bytes(32, "big"))
            book = await Ledger.open(database, identity, Pricing(0, Valuation.TARGET))
            for number in range(rows):
                header = Header(2, bytes(32), bytes(32), 1_700_000_000, 0x207FFFFF, secret << 8 | number)
                share_hash = sha256d(header.pack())
                amount = share_amount(share_hash, MAX_TARGET, 0)
                await book.append([Entry(share_hash, header.pack(), MAX_TARGET, amount, KEY, False)])

    asyncio.run(fill())


def test_every_ledger_of_a_state_is_audited(tmp_path: Path) -> None:
    ledger(tmp_path, "pool", of_pool.MIGRATIONS, 1, 3)
    ledger(tmp_path, "sv1_proxy-pool", of_sv1.MIGRATIONS, 2, 4)
    assert whereabouts.issuers(tmp_path) == ["pool", "sv1_proxy-pool"]
    assert whereabouts.issuer(tmp_path) == "pool"
    findings = audit(tmp_path, ["pool"], required=True)
    assert findings.ok
    assert findings.counts["attributed shares"] == 7


def test_what_is_asked_for_is_where_there_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (whereabouts.issuer(tmp_path), whereabouts.wallet(tmp_path)) == ("pool", "proxy")
    ledger(tmp_path, "sv1_proxy-pool", of_sv1.MIGRATIONS, 2, 2)
    (tmp_path / "sv1_proxy-miner").mkdir()
    assert whereabouts.issuer(tmp_path) == "sv1_proxy-pool"
    # A wallet that was lost is restored where its daemon is.
    assert whereabouts.wallet(tmp_path) == "sv1_proxy-miner"
    assert whereabouts.wallets(tmp_path) == []
    asked = db.main(["pool", "SELECT count(*) FROM share", "--state", str(tmp_path)])
    assert asked == sysexits.OK
    assert capsys.readouterr().out.splitlines()[-1] == "2"
