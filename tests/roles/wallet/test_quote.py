"""What pool and mint say of quotes and tokens may be any number, and the wallet goes on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.cashu.models import Proof
from protocols.ehash.amount import AMOUNT_LIMIT
from roles.runtime.storage import Connection, Database
from roles.wallet import identity, purse, quote, readout
from roles.wallet.purse import HeldProof
from roles.wallet.quote import Quote
from roles.wallet.schema import MIGRATIONS

MOST = AMOUNT_LIMIT - 1
MANY = 1_100
"""So many of the largest amounts are more than 2^63."""
POINT = b"\x02" * 33


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "wallet.sqlite", MIGRATIONS) as opened:
        yield opened


async def test_quotes_worth_more_than_an_integer_of_the_store_are_counted(database: Database) -> None:
    def learn(connection: Connection) -> int:
        identity.claim(connection, "rig", lambda _: POINT, limit=1, now_ms=0)
        quotes = [Quote(sha256(b"%d" % number), None, 0, MOST, "unit") for number in range(MANY)]
        return quote.learn(connection, quotes, "notice", 0)

    assert await database.write(learn) == MANY
    count, ehash = await database.read(quote.waiting)
    assert count == MANY
    assert ehash == pytest.approx(MANY * MOST)
    (rig,) = await database.read(readout.workers)
    assert rig.waiting == pytest.approx(MANY * MOST)


async def test_tokens_worth_more_than_an_integer_of_the_store_are_summed_exactly(database: Database) -> None:
    held = [HeldProof(Proof(MOST, "00" * 8, f"{number}", POINT), number) for number in range(MANY)]
    assert await database.write(lambda c: purse.put(c, held, None, 0)) == MANY * MOST
    (balance,) = await database.read(purse.balances)
    assert (balance.amount, balance.proofs) == (MANY * MOST, MANY)
