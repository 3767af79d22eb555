from typing import Any

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import lookup
from protocols.cashu.errors import BatchTooLargeError, CashuError, MalformedError, SignatureError
from protocols.ehash.quote_id import quote_id, shared_secret
from roles.mint.quote import Quote
from roles.mint.request import Sizes
from roles.mint.teller import ShareClaim
from tests.roles.mint.house import MINER, NOW, House

OTHER = b"\x77" * 32


def _body(house: House, *secrets: bytes, **changes: Any) -> dict[str, Any]:
    mint_key = house.seed.info_key
    signatures = [lookup.sign(s, mint_key, public_key(s), NOW, bytes(32)).hex() for s in secrets]
    return {
        "pubkeys": [public_key(secret).hex() for secret in secrets],
        "pubkey_signatures": signatures,
        "timestamp": NOW,
    } | changes


async def _pages(house: House, body: dict[str, Any]) -> list[list[Quote]]:
    pages = []
    cursor: str | None = None
    while True:
        quotes, cursor = await house.teller.look_up(body | {"cursor": cursor})
        pages.append(list(quotes))
        if cursor is None:
            return pages


async def test_a_key_finds_its_quotes_and_nobody_elses(house: House) -> None:
    mine = await house.credit(1, 2, 3)
    theirs = await house.credit(4, key=public_key(OTHER))
    ((*found,),) = await _pages(house, _body(house, MINER))
    assert {quote.quote_id for quote in found} == {quote.quote_id for quote in mine}
    ((*both,),) = await _pages(house, _body(house, MINER, OTHER))
    assert {quote.quote_id for quote in both} == {quote.quote_id for quote in [*mine, *theirs]}
    assert [quote.quote_id for quote in both] == sorted(quote.quote_id for quote in both)


async def test_pages_hold_every_quote_once_and_only_the_last_has_no_cursor(house: House) -> None:
    quotes = await house.credit(*[1] * 7) + await house.credit(*[1] * 6, key=public_key(OTHER))
    pages = await _pages(house, _body(house, MINER, OTHER, limit=4))
    assert [len(page) for page in pages] == [4, 4, 4, 1]
    found = [quote.quote_id for page in pages for quote in page]
    assert found == sorted(quote.quote_id for quote in quotes)
    assert len((await _pages(house, _body(house, MINER, OTHER, limit=13)))[-1]) == 13
    assert await _pages(house, _body(house, b"\x78" * 32)) == [[]]


async def test_a_page_is_never_larger_than_the_mint_allows(house: House) -> None:
    house.teller.sizes = Sizes(page=2)
    await house.credit(1, 1, 1)
    assert [len(page) for page in await _pages(house, _body(house, MINER, limit=1000))] == [2, 1]


async def test_only_what_can_be_minted_is_told_on_request(house: House) -> None:
    minted, pending, partly = await house.credit(1, 2, 3)
    await house.teller.mint(house.claim(minted, house.basket(1)))
    await house.teller.mint(house.claim(partly, house.basket(1)))
    ((*found,),) = await _pages(house, _body(house, MINER, only_mintable=True))
    assert {quote.quote_id for quote in found} == {pending.quote_id, partly.quote_id}
    assert len((await _pages(house, _body(house, MINER)))[0]) == 3


async def test_a_cursor_is_good_for_its_own_keys_only(house: House) -> None:
    await house.credit(1, 1, 1)
    body = _body(house, MINER, limit=1)
    _, cursor = await house.teller.look_up(body)
    assert cursor is not None
    wrong = ("", "!", "AAAA", cursor[:-2], ("A" if cursor[0] != "A" else "B") + cursor[1:], "é")
    for text in wrong:
        with pytest.raises(MalformedError, match="cursor"):
            await house.teller.look_up(body | {"cursor": text})
    with pytest.raises(MalformedError, match="not of this look-up"):
        await house.teller.look_up(_body(house, MINER, OTHER, limit=1, cursor=cursor))


async def test_a_look_up_that_is_not_signed_by_all_its_keys_now_is_refused(house: House) -> None:
    good = _body(house, MINER)
    wrong: list[tuple[dict[str, Any], type[CashuError]]] = [
        ({"pubkey_signatures": ["00" * 64]}, SignatureError),
        ({"timestamp": NOW + 1}, SignatureError),
        ({"timestamp": None}, SignatureError),
        ({"pubkey_signatures": []}, MalformedError),
        ({"pubkeys": good["pubkeys"] * 51, "pubkey_signatures": ["00" * 64] * 51}, BatchTooLargeError),
    ]
    for change, error in wrong:
        with pytest.raises(error):
            await house.teller.look_up(good | change)
    house.clock.now += 301
    with pytest.raises(SignatureError, match="300 s"):
        await house.teller.look_up(good)


async def test_the_keys_holder_can_compute_the_id_of_its_shares_quote(house: House) -> None:
    row = house.row(3)
    await house.settle(house.frame([row]))
    shared = shared_secret(MINER, public_key(house.seed.quote_secret))
    quote = await house.teller.quote(quote_id(shared, sha256d(row.header)))
    assert (quote.amount, quote.request) == (3, sha256d(row.header).hex())


async def test_share_hashes_are_answered_for_the_key_that_signs(house: House) -> None:
    rows = [house.row(1), house.row(1, key=public_key(OTHER))]
    await house.settle(house.frame(rows))
    hashes = [sha256d(row.header) for row in rows] + [bytes(32)]
    signature = lookup.sign(MINER, house.seed.info_key, public_key(MINER), NOW, bytes(32))
    claim = ShareClaim(public_key(MINER), NOW, signature)
    assert list(await house.teller.look_up_shares(hashes, claim)) == hashes[:1]
    with pytest.raises(SignatureError, match="does not verify"):
        await house.teller.look_up_shares(hashes, ShareClaim(public_key(OTHER), NOW, signature))
    with pytest.raises(SignatureError, match="300 s"):
        await house.teller.look_up_shares(hashes, ShareClaim(public_key(MINER), NOW - 301, signature))
    with pytest.raises(SignatureError, match="needs the headers"):
        await house.teller.look_up_shares(hashes, None)
    public = house.open_teller(public_share_lookup=True)
    assert list(await public.look_up_shares(hashes, None)) == hashes[:2]
