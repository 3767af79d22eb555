"""Which tokens to spend: a sum exactly where that can be had, else the fewest that cover it and their fee."""

from collections.abc import Mapping, Sequence

from protocols.cashu.denominations import input_fee
from roles.wallet.purse import Coin


def exact(coins: Sequence[Coin], amount: int, limit: int) -> list[Coin] | None:
    """At most `limit` coins that sum to `amount`, None when there are none; coins come the largest first.

    For powers of two the greedy choice finds a sum whenever there is one.
    """
    chosen: list[Coin] = []
    rest = amount
    for coin in coins:
        if coin.amount <= rest:
            chosen.append(coin)
            rest -= coin.amount
        if rest == 0:
            break
    return chosen if rest == 0 and len(chosen) <= limit else None


def cover(coins: Sequence[Coin], amount: int, fees_ppk: Mapping[str, int]) -> list[Coin] | None:
    """The fewest coins that pay `amount` and their own fee, by keyset in thousandths; None when all are too
    few. Coins come the largest first.
    """
    need = amount
    while True:
        chosen = _at_least(coins, need)
        if chosen is None:
            return None
        wanted = amount + fee_of(chosen, fees_ppk)
        if sum(coin.amount for coin in chosen) >= wanted:
            return chosen
        need = max(wanted, need + 1)


def fee_of(coins: Sequence[Coin], fees_ppk: Mapping[str, int]) -> int:
    """What the mint asks for spending these."""
    return input_fee(fees_ppk.get(coin.keyset_id, 0) for coin in coins)


def spendable(coins: Sequence[Coin], fees_ppk: Mapping[str, int]) -> int:
    """The most that can be paid in one piece: what is held less the fee for all that is worth its own."""
    worth = [coin for coin in coins if coin.amount * 1000 > fees_ppk.get(coin.keyset_id, 0)]
    return max(0, sum(coin.amount for coin in worth) - fee_of(worth, fees_ppk))


def _at_least(coins: Sequence[Coin], need: int) -> list[Coin] | None:
    chosen: list[Coin] = []
    left: Coin | None = None
    rest = need
    for coin in coins:
        if coin.amount <= rest:
            chosen.append(coin)
            rest -= coin.amount
        else:
            left = coin
    if rest == 0:
        return chosen
    if left is None:
        return None
    # The smallest that was too large pays for the rest and for some of the smaller ones.
    over = left.amount - rest
    slim: list[Coin] = []
    for coin in chosen:
        if coin.amount <= over:
            over -= coin.amount
        else:
            slim.append(coin)
    return [*slim, left]
