from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin import target
from protocols.bitcoin.errors import TargetError

targets = st.integers(1, target.MAX_TARGET)


@pytest.mark.parametrize(
    ("bits", "value"),
    [
        (0x1D00FFFF, target.DIFFICULTY_ONE),
        (0x207FFFFF, 0x7FFFFF << 232),
        (0x1B0404CB, 0x0404CB << 192),
        (0x04123456, 0x12345600),
        (0x05009234, 0x92340000),
        (0x01123456, 0x12),
        (0x02123456, 0x1234),
        (0x03123456, 0x123456),
        (0x2100FFFF, 0xFFFF << 240),
    ],
)
def test_compact_targets_are_those_of_bitcoin(bits: int, value: int) -> None:
    assert target.from_bits(bits) == value


@pytest.mark.parametrize(
    "bits",
    [0, 0x123456, 0x01003456, 0x04923456, 0x01FEDCBA, 0x20800001, 0x23000100, 0x22010000, 0xFF7FFFFF, -1],
)  # fmt: skip
def test_compact_targets_of_zero_negative_or_too_large_are_refused(bits: int) -> None:
    with pytest.raises(TargetError):
        target.from_bits(bits)


@pytest.mark.parametrize(
    ("value", "bits"),
    [(0x80, 0x02008000), (0x12, 0x01120000), (0x1234, 0x02123400), (target.DIFFICULTY_ONE, 0x1D00FFFF)],
)
def test_a_target_is_written_in_its_shortest_compact_form(value: int, bits: int) -> None:
    assert target.to_bits(value) == bits


@given(targets)
def test_the_compact_form_rounds_down_and_is_stable(value: int) -> None:
    bits = target.to_bits(value)
    rounded = target.from_bits(bits)
    assert rounded <= value < rounded + (1 << max(value.bit_length() - 15, 0))
    assert target.to_bits(rounded) == bits


@pytest.mark.parametrize("value", [0, -1, target.SPACE])
def test_numbers_that_are_no_target_are_refused(value: int) -> None:
    for function in (target.to_bits, target.difficulty):
        with pytest.raises(TargetError):
            function(value)


def test_the_work_of_a_target_is_its_expected_number_of_hashes() -> None:
    assert target.work(target.MAX_TARGET) == 1
    assert target.work(target.DIFFICULTY_ONE) == 0x100010001
    assert target.work(0) == target.SPACE
    for value in (-1, target.SPACE):
        with pytest.raises(TargetError):
            target.work(value)


@given(st.integers(1, (1 << 128) - 1))
def test_a_target_made_for_some_work_gives_back_that_work(hashes: int) -> None:
    assert target.work(target.from_work(hashes)) == hashes


@pytest.mark.parametrize("hashes", [0, -1, target.SPACE + 1])
def test_work_that_no_target_has_is_refused(hashes: int) -> None:
    with pytest.raises(TargetError):
        target.from_work(hashes)


def test_the_hardest_and_easiest_work_have_targets() -> None:
    assert target.from_work(1) == target.MAX_TARGET
    assert target.from_work(target.SPACE) == 0


def test_a_hash_equal_to_the_target_meets_it_and_one_above_does_not() -> None:
    value = 1 << 200
    assert target.meets(value.to_bytes(32, "little"), value)
    assert not target.meets((value + 1).to_bytes(32, "little"), value)


@given(targets)
def test_the_target_of_a_difficulty_is_the_largest_that_is_as_hard(value: int) -> None:
    hardness = target.difficulty(value)
    assert target.from_difficulty(hardness) == value
    assert target.from_difficulty(hardness + Fraction(1, 1 << 300)) <= value


def test_difficulties_outside_all_targets_are_clamped_or_refused() -> None:
    assert target.difficulty(target.DIFFICULTY_ONE) == 1
    assert target.from_difficulty(Fraction(1, 1 << 300)) == target.MAX_TARGET
    assert target.from_difficulty(Fraction(1 << 300)) == 0
    for value in (0, -1):
        with pytest.raises(TargetError):
            target.from_difficulty(Fraction(value))


def test_the_difficulty_of_quantised_work_fits_a_double() -> None:
    for amount in (1, 3, (1 << 37) - 1):
        exact = target.difficulty_of_work(amount << 32)
        assert Fraction(float(exact)) == exact
        assert exact == Fraction((amount << 32) * 65535, 1 << 48)


def test_targets_for_a_hash_rate_are_those_of_the_reference_implementation(
    vectors: Callable[[str], Any],
) -> None:
    cases = [each for each in vectors("sri_jobs_shares.json")["vectors"] if each["kind"] == "target"]
    assert len(cases) == 2
    for case in cases:
        hashes = int(case["hashrate"] * 60 / case["shares_per_minute"]) + 1
        assert target.from_work(hashes) == int(case["expected"], 16)
