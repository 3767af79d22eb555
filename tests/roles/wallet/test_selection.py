import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.wallet.purse import Coin
from roles.wallet.selection import cover, exact, fee_of, spendable


def coins(*amounts: int, keyset: str = "k") -> list[Coin]:
    ordered = sorted(amounts, reverse=True)
    return [Coin(index.to_bytes(33, "big"), keyset, amount) for index, amount in enumerate(ordered)]


def sizes(chosen: list[Coin] | None) -> list[int] | None:
    return None if chosen is None else sorted(coin.amount for coin in chosen)


@pytest.mark.parametrize(
    ("held", "amount", "chosen"),
    [
        ((1, 2, 4, 8), 5, [1, 4]),
        ((1, 2, 4, 8), 15, [1, 2, 4, 8]),
        ((4, 4, 4), 8, [4, 4]),
        ((8, 8), 4, None),
        ((1, 1), 3, None),
    ],
)
def test_a_sum_that_is_held_in_tokens_is_found(held: tuple[int, ...], amount: int, chosen: object) -> None:
    assert sizes(exact(coins(*held), amount, 64)) == chosen


def test_a_sum_of_too_many_tokens_is_not_handed_out_as_it_is() -> None:
    assert exact(coins(*[1] * 10), 10, 9) is None


def test_the_token_that_covers_the_rest_makes_smaller_ones_needless() -> None:
    assert sizes(cover(coins(16, 1, 1, 1), 5, {})) == [16]
    assert sizes(cover(coins(16, 4, 1), 6, {})) == [16]
    assert sizes(cover(coins(8, 4, 4), 14, {})) == [4, 4, 8]


def test_the_fee_of_the_inputs_is_paid_by_them() -> None:
    assert sizes(cover(coins(4, 4, 1), 6, {"k": 1000})) == [4, 4]
    assert cover(coins(4, 4), 7, {"k": 1000}) is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 12).map(lambda bit: 1 << bit), max_size=40),
    st.integers(1, 1 << 14),
    st.sampled_from([0, 1, 100, 999, 1000]),
)
def test_what_is_chosen_pays_sum_and_fee_whenever_it_can(held: list[int], amount: int, fee: int) -> None:
    fees = {"k": fee}
    chosen = cover(coins(*held), amount, fees)
    most = spendable(coins(*held), fees)
    if chosen is None:
        assert most < amount
    else:
        assert sum(coin.amount for coin in chosen) >= amount + fee_of(chosen, fees)
        assert len({coin.y for coin in chosen}) == len(chosen)
    if (found := exact(coins(*held), amount, 1000)) is not None:
        assert sum(coin.amount for coin in found) == amount
