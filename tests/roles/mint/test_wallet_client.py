"""The wallet's own client against the mint: what one says the other reads."""

from collections.abc import AsyncIterator

import orjson
import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import lookup
from protocols.cashu.curve import secret_point
from roles.wallet.errors import MintRefused
from roles.wallet.mint_client import BATCH_PATH, SINGLE_PATH, MintClient, open_session
from tests.roles.mint.house import MINER, NOW, House


@pytest.fixture
async def client(url: str) -> AsyncIterator[MintClient]:
    async with open_session() as session:
        yield MintClient(url, session, waits=())


async def test_the_client_reads_what_the_mint_says_of_itself(house: House, client: MintClient) -> None:
    info = await client.info()
    assert info.public_key == house.seed.info_key
    assert info.quote_key == public_key(house.seed.quote_secret)
    assert (info.max_batch, info.max_lookup_keys) == (100, 50)
    heads = await client.keysets()
    assert [head.unit for head in heads] == [keyset.unit for keyset in house.book]
    keyset = await client.keys(heads[0].keyset_id)
    assert keyset.keys == house.book.get(heads[0].keyset_id).public_keys()


async def test_the_client_mints_looks_up_and_restores(house: House, client: MintClient) -> None:
    row = house.row(8)
    await house.settle(house.frame([row]))
    signature = lookup.sign(MINER, house.seed.info_key, public_key(MINER), NOW, bytes(32))
    quotes, cursor = await client.look_up(
        [(public_key(MINER), signature)], NOW, only_mintable=True, limit=10, cursor=None
    )
    assert cursor is None
    assert [(quote.share_hash, quote.mintable) for quote in quotes] == [(sha256d(row.header), 8)]
    quote = await house.teller.quote(quotes[0].quote_id)
    first, second = house.basket(1, 1), house.basket(2, 4)
    signed = await client.mint(SINGLE_PATH, orjson.dumps(house.claim(quote, first)))
    batch = house.batch([quote], second, quote_amounts=[6])
    signed += await client.mint(BATCH_PATH, orjson.dumps(batch))
    assert [item.amount for item in signed] == [1, 1, 2, 4]
    assert (await client.quote(quote.quote_id)).mintable == 0
    assert [state.issued for state in await client.check_quotes([quote.quote_id])] == [8]
    never = house.basket(1)
    outputs = [*first.outputs, *never.outputs, *second.outputs]
    restored = await client.restore(outputs)
    assert [item for _, item in restored] == signed
    points = [secret_point(secret) for secret in first.secrets]
    assert await client.check_state(points) == ["UNSPENT", "UNSPENT"]


async def test_the_client_hears_the_code_of_a_refusal(house: House, client: MintClient) -> None:
    (quote,) = await house.credit(1)
    body = house.claim(quote, house.basket(1), secret=b"\x01" * 32)
    with pytest.raises(MintRefused) as caught:
        await client.mint(SINGLE_PATH, orjson.dumps(body))
    assert caught.value.code == 20008
