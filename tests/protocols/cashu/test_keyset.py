import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.cashu import keyset
from protocols.cashu.denominations import input_fee, split
from protocols.cashu.errors import CashuError, KeysetUnknownError, MalformedError
from protocols.cashu.keyset import (
    Keyset,
    derive_private_keys,
    keyset_id_v1,
    keyset_id_v2,
    parse_keys,
    public_keys,
    resolve,
    short_id,
)

VECTORS = Path(__file__).parents[2] / "vectors/cashu"
NUT01: dict[str, Any] = json.loads((VECTORS / "nut01.json").read_text())
NUT02: dict[str, Any] = json.loads((VECTORS / "nut02.json").read_text())
POINT = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


@pytest.mark.parametrize("case", NUT01["valid"])
def test_the_valid_keys_of_the_specification_are_read(case: dict[str, Any]) -> None:
    assert {str(amount): key.hex() for amount, key in parse_keys(case["keys"]).items()} == case["keys"]


@pytest.mark.parametrize("case", NUT01["invalid"], ids=lambda case: str(case["why"]))
def test_the_invalid_keys_of_the_specification_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse_keys(case["keys"])


@pytest.mark.parametrize("case", NUT02["v1"], ids=lambda case: str(case["id"]))
def test_version_1_ids_are_those_of_the_specification(case: dict[str, Any]) -> None:
    assert keyset_id_v1(parse_keys(case["keys"])) == case["id"]
    Keyset.from_json(case | {"unit": "sat"})


@pytest.mark.parametrize("case", NUT02["v2"], ids=lambda case: str(case["id"]))
def test_version_2_ids_are_those_of_the_specification(case: dict[str, Any]) -> None:
    keys = parse_keys(case["keys"])
    assert (
        keyset_id_v2(keys, case["unit"].upper(), case.get("input_fee_ppk", 0), case.get("final_expiry"))
        == case["id"]
    )
    assert Keyset.from_json(case).keys == keys


def test_an_id_that_does_not_commit_to_what_is_shown_is_refused() -> None:
    case = NUT02["v2"][0]
    for change in (
        {"unit": "usd"},
        {"input_fee_ppk": 99},
        {"final_expiry": None},
        {"id": "02" + case["id"][2:]},
    ):
        with pytest.raises(MalformedError, match="keyset"):
            Keyset.from_json(case | change)


@pytest.mark.parametrize(
    "keys",
    [{}, [], {"x": POINT}, {"0": POINT}, {"01": POINT, "1": POINT}, {"\u0661": POINT}, {"1" * 21: POINT},
     {str(2**64): POINT}, {"1": "02" + "ff" * 32}, {str(amount): POINT for amount in range(1, 66)}],
)  # fmt: skip
def test_keys_of_a_wrong_shape_are_refused(keys: object) -> None:
    with pytest.raises(MalformedError):
        parse_keys(keys)


def test_a_short_id_resolves_to_the_one_keyset_that_begins_with_it() -> None:
    one, other = "01" + "ab" * 32, "01" + "cd" * 32
    assert resolve(short_id(one), [one, other]) == one
    assert resolve(other, [one, other]) == other
    with pytest.raises(KeysetUnknownError):
        resolve("00" * 8, [one, other])
    with pytest.raises(MalformedError, match="could be"):
        resolve(short_id(one), [one, one[:-2] + "00"])


def test_private_keys_depend_on_seed_unit_and_index_and_on_nothing_else() -> None:
    made = derive_private_keys(b"\x01" * 32, "hash_x_0", 0, 53)
    assert list(made) == [1 << exponent for exponent in range(53)]
    assert made == derive_private_keys(b"\x01" * 32, "HASH_X_0", 0, 53)
    others = [
        derive_private_keys(b"\x02" * 32, "hash_x_0", 0, 1),
        derive_private_keys(b"\x01" * 32, "hash_x_1", 0, 1),
        derive_private_keys(b"\x01" * 32, "hash_x_0", 1, 1),
    ]
    assert len({made[1], *(other[1] for other in others)}) == 4
    assert len(public_keys(made)) == 53


def test_a_candidate_that_is_no_scalar_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    first = derive_private_keys(b"\x01" * 32, "sat", 0, 1)
    answers = iter((False, True))
    monkeypatch.setattr(keyset, "is_secret", lambda _: next(answers))
    assert derive_private_keys(b"\x01" * 32, "sat", 0, 1) != first


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=70), max_size=4))
def test_no_json_makes_a_keyset_raise_anything_but_its_own_error(value: dict[str, object]) -> None:
    for body in (value, {"id": "00" * 8, "unit": "sat", "keys": value}):
        with pytest.raises(CashuError):
            Keyset.from_json(body)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64 - 1))
@example(0)
@example(2**64 - 1)
def test_an_amount_splits_into_the_fewest_powers_of_two(amount: int) -> None:
    parts = split(amount)
    assert sum(parts) == amount
    assert len(parts) == amount.bit_count()
    assert list(parts) == sorted(set(parts))


def test_a_fee_is_the_sum_of_every_inputs_thousandths_rounded_up() -> None:
    assert [input_fee(fees) for fees in ([], [0], [1], [500, 500], [500, 501], [1000] * 3)] == [
        0,
        0,
        1,
        1,
        2,
        3,
    ]
