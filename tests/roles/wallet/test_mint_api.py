from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.cashu.errors import MalformedError
from roles.wallet.errors import NoKeysetError
from roles.wallet.mint_api import KeysetHead, MintInfo, QuoteState, read_page
from roles.wallet.signatures import denominations

FIELDS = st.sampled_from(
    [
        "name",
        "pubkey",
        "quote_key",
        "nuts",
        "29",
        "XX",
        "supported",
        "disabled",
        "max_batch_size",
        "id",
        "max_pubkeys",
        "quote",
        "unit",
        "request",
        "amount_paid",
        "amount_issued",
        "quotes",
        "next_cursor",
        "active",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["02" + "11" * 32, "ab" * 32, "01" + "0" * 64, "\ud800"])
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6)
)


@pytest.mark.parametrize("read", [MintInfo.from_json, KeysetHead.from_json, QuoteState.from_json, read_page])
@given(value=JSON)
@settings(max_examples=200, deadline=None)
def test_whatever_a_mint_says_is_read_or_malformed(read: Callable[[object], object], value: object) -> None:
    try:
        read(value)
    except MalformedError:
        pass


@given(amount=st.integers(1, (1 << 53) - 1))
@settings(max_examples=200, deadline=None)
def test_an_amount_is_split_into_the_fewest_powers_of_two(amount: int) -> None:
    parts = denominations(amount, {1 << bit: b"" for bit in range(53)})
    assert sum(parts) == amount
    assert len(parts) == amount.bit_count()
    assert list(parts) == sorted(parts)


@pytest.mark.parametrize(("amount", "sizes"), [(3, [2]), (1000, [1]), (0, [1]), (5, [])])
def test_an_amount_that_the_keys_cannot_make_is_refused(amount: int, sizes: list[int]) -> None:
    with pytest.raises(NoKeysetError):
        denominations(amount, dict.fromkeys(sizes, b""))
