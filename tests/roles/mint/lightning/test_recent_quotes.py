from dataclasses import replace

import pytest

from protocols.cashu.errors import NotBalancedError, QuoteIssuedError
from roles.mint.lightning.method import METHOD
from roles.mint.quote import Quote
from roles.mint.recent_quotes import KEPT, RecentQuotes
from tests.roles.mint.lightning.bank import Bank

PAID = Quote("a", METHOD, "sat", "", 8, 8, 0, 1, None)


def test_a_quote_is_taken_once_and_only_with_all_that_are_asked_for() -> None:
    recent = RecentQuotes()
    for quote_id in "abc":
        recent.keep(replace(PAID, quote_id=quote_id))
    assert recent.take(["a", "b"], METHOD) == [PAID, replace(PAID, quote_id="b")]
    assert recent.take(["a"], METHOD) is None
    assert recent.take(["c", "d"], METHOD) is None
    assert recent.take(["c"], METHOD) is None


def test_what_cannot_be_minted_or_is_of_another_method_is_not_given() -> None:
    recent = RecentQuotes()
    recent.keep(replace(PAID, amount_paid=0))
    assert recent.take(["a"], METHOD) is None
    recent.keep(PAID)
    assert recent.take(["a"], "ehash") is None


def test_the_oldest_are_forgotten() -> None:
    recent = RecentQuotes()
    for number in range(KEPT + 1):
        recent.keep(replace(PAID, quote_id=str(number)))
    assert recent.take(["0"], METHOD) is None
    assert recent.take(["1"], METHOD) is not None


async def test_a_quote_that_was_told_is_minted_without_a_read(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote = await bank.paid(5)

    async def read(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(bank.house.database, "read", read)
    assert len(await bank.teller.mint(bank.claim(quote, bank.basket(1, 4)), METHOD)) == 2


async def test_a_quote_that_others_took_from_since_it_was_told_is_judged_as_it_is(bank: Bank) -> None:
    quote = await bank.paid(5)
    take = "UPDATE quote SET amount_issued = amount_issued + ? WHERE quote_id = ?"
    await bank.house.database.write(lambda c: c.execute(take, (4, quote.quote_id)).rowcount)
    with pytest.raises(NotBalancedError, match="holds 1, 5 are asked"):
        await bank.teller.mint(bank.claim(quote, bank.basket(1, 4)), METHOD)
    await bank.teller.quote(quote.quote_id, METHOD)
    await bank.house.database.write(lambda c: c.execute(take, (1, quote.quote_id)).rowcount)
    with pytest.raises(QuoteIssuedError):
        await bank.teller.mint(bank.claim(quote, bank.basket(1)), METHOD)
