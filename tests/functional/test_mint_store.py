"""The mint's ledger goes elsewhere: to PostgreSQL, and back from a dump; and stays what it was."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from protocols.cashu.models import Proof
from roles.cli import db
from roles.cli import mint as mint_command
from roles.cli.db_move import carry
from roles.cli.stores import MintStore, open_store
from roles.mint.store import MOVED_NAME, STORE_NAME
from roles.runtime import sysexits
from roles.runtime.errors import DatabaseInUse, DatabaseUnusable
from tests.functional.mint_peer import Wallet
from tests.functional.mint_row import MintRow, mint_row
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.functional


async def some_life(
    row: MintRow, session: aiohttp.ClientSession
) -> tuple[Wallet, dict[str, Any], Any, list[Proof]]:
    """A swap that was answered, and the tokens that came of it."""
    wallet = await row.wallet(session)
    share = await row.credit(row.issuers[0], 8, wallet.key)
    minted = wallet.basket(8)
    tokens = await row.insist(session, "/v1/mint/ehash", wallet.claim(wallet.quote(share), minted))
    fresh = wallet.basket(4, 4)
    body = wallet.swap(wallet.open(minted, tokens), fresh)
    answer = await row.insist(session, "/v1/swap", body)
    return wallet, body, answer, wallet.open(fresh, answer)


def dsn_file(directory: Path, dsn: str) -> Path:
    file = directory / "other.dsn"
    file.write_text(dsn)
    file.chmod(0o600)
    return file


def counts(row: MintRow) -> dict[str, int]:
    store = open_store(row.site.state, "mint", MintStore.FILE)
    assert store is not None
    with store:
        tables = ("quote", "promise", "spent", "request", "credit", "keyset", "shift", "journal")
        return {name: store.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


async def test_a_mint_moves_from_sqlite_to_postgresql_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PostgresServer() as postgres, mint_row(tmp_path, "sqlite", 1) as row:
        await row.start()
        (mint,) = row.mints
        file = dsn_file(tmp_path, postgres.create_database())
        async with aiohttp.ClientSession() as session:
            wallet, body, answer, tokens = await some_life(row, session)
            with pytest.raises(DatabaseInUse):
                carry(mint.state, file)
            await mint.stop()
            before = counts(row)
            # A thread, as the tool has an event loop of its own.
            moved = await asyncio.to_thread(db.main, ["move", str(file), "--state", str(row.site.state)])
            assert moved == sysexits.OK
            assert "quote" in capsys.readouterr().out
            assert counts(row) == before
            row.audit()
            assert (mint.state / MOVED_NAME).exists()
            mint.start()
            assert await mint.ended() == sysexits.IO
            assert "was moved to PostgreSQL" in mint.log
            mint.settings |= {"store.engine": "postgresql", "store.dsn_file": str(file)}
            await mint.started()
            assert await row.insist(session, "/v1/swap", body) == answer
            fresh = wallet.basket(8)
            await row.insist(session, "/v1/swap", wallet.swap(tokens, fresh))
            assert await wallet.refused("/v1/swap", wallet.swap(tokens, wallet.basket(8))) == 11001
        row.audit()
        assert db.main(["mint", "SELECT count(*) AS n FROM spent", "--state", str(row.site.state)]) == 0
        assert capsys.readouterr().out == "n\n3\n"
        await mint.stop()
        (mint.state / MOVED_NAME).rename(mint.state / STORE_NAME)
        with pytest.raises(DatabaseUnusable, match="is not empty"):
            await asyncio.to_thread(carry, mint.state, file)


async def test_a_copy_of_a_sqlite_store_in_use_becomes_a_mint_again(tmp_path: Path) -> None:
    with mint_row(tmp_path, "sqlite", 1) as row:
        await row.start()
        (mint,) = row.mints
        async with aiohttp.ClientSession() as session:
            _, body, answer, _ = await some_life(row, session)
            copy = tmp_path / "copy.sqlite"
            before = counts(row)
            order = ["backup", str(copy), "--state", str(row.site.state)]
            assert await asyncio.to_thread(mint_command.main, order) == sysexits.OK
            await some_life(row, session)
            await mint.stop()
            (mint.state / STORE_NAME).unlink()
            copy.rename(mint.state / STORE_NAME)
            assert counts(row) == before
            row.audit()
            await mint.started()
            assert await row.insist(session, "/v1/swap", body) == answer


async def test_a_dump_of_a_database_in_use_becomes_a_mint_again(tmp_path: Path) -> None:
    with mint_row(tmp_path, "postgresql", 1) as row:
        await row.start()
        (mint,) = row.mints
        postgres = row.postgres
        assert postgres is not None
        async with aiohttp.ClientSession() as session:
            _, body, answer, _ = await some_life(row, session)
            postgres.dump("mint1", tmp_path / "dump")
            before = counts(row)
            await mint.stop()
            restored = postgres.create_database()
            postgres.restore("mint2", tmp_path / "dump")
            Path(mint.settings["store.dsn_file"]).write_text(restored)
            assert counts(row) == before
            row.audit()
            await mint.started()
            assert await row.insist(session, "/v1/swap", body) == answer
            wallet = await row.wallet(session)
            # Numbers that the server gives go on behind those that were brought.
            share = await row.credit(row.issuers[0], 4, wallet.key)
            basket = wallet.basket(4)
            await row.insist(session, "/v1/mint/ehash", wallet.claim(wallet.quote(share), basket))
        row.audit()


async def test_a_second_process_without_the_seed_does_not_start_on_the_same_database(tmp_path: Path) -> None:
    with mint_row(tmp_path, "postgresql", 1) as row:
        await row.start()
        (mint,) = row.mints
        await mint.stop()
        seed = (mint.state / "seed.key").read_text()
        (mint.state / "seed.key").unlink()
        mint.start()
        assert await mint.ended() == sysexits.PERMISSION
        assert "bring the seed.key" in mint.log
        assert not (mint.state / "seed.key").exists()
        (mint.state / "seed.key").write_text("11" * 32)
        (mint.state / "seed.key").chmod(0o600)
        mint.start()
        assert await mint.ended() == sysexits.DATA
        assert "made with another seed" in mint.log
        (mint.state / "seed.key").write_text(seed)
        await mint.started()
