from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.node_client.answers import NodeTemplate, TemplateTransaction
from roles.templates.selection import Constraints, select

Make = Callable[..., TemplateTransaction]
MakeTemplate = Callable[..., NodeTemplate]

SMALL = Constraints(100, 4)


def kept(template: NodeTemplate, constraints: Constraints = SMALL) -> list[int]:
    """Places of the transactions that stay."""
    chosen = {each.txid for each in select(template, constraints)}
    return [place for place, each in enumerate(template.transactions) if each.txid in chosen]


@pytest.mark.parametrize(("size", "weight"), [(0, 2_000), (108, 2_000), (109, 2_004), (1_000, 5_568)])
def test_the_room_kept_free_is_that_of_the_protocol(size: int, weight: int) -> None:
    assert Constraints(size, 0).weight == weight


def test_legacy_sigops_cost_four_each() -> None:
    assert Constraints(0, 400).sigop_cost == 1_600


def test_a_template_with_room_stays_as_it_is(transaction: Make, template: MakeTemplate) -> None:
    full = template(transactions=[transaction("a"), transaction("b", depends=[0])])
    assert select(full, SMALL) is full.transactions


def test_the_tail_goes_when_weight_is_short(transaction: Make, template: MakeTemplate) -> None:
    listed = [transaction(str(rank), fee=100 - rank, weight=1_000) for rank in range(5)]
    limit = SMALL.weight + 3_000
    assert kept(template(transactions=listed, weight_limit=limit)) == [0, 1, 2]
    assert kept(template(transactions=listed, weight_limit=limit - 1)) == [0, 1]
    assert kept(template(transactions=listed, weight_limit=0)) == []


def test_the_tail_goes_when_sigops_are_short_and_others_stay(
    transaction: Make, template: MakeTemplate
) -> None:
    listed = [
        transaction("first", fee=100, sigops=20),
        transaction("greedy", fee=90, sigops=100),
        transaction("frugal", fee=10, sigops=4),
    ]
    assert kept(template(transactions=listed, sigop_limit=SMALL.sigop_cost + 50)) == [0, 2]


def test_a_smaller_one_fills_the_gap_that_a_larger_one_leaves(
    transaction: Make, template: MakeTemplate
) -> None:
    listed = [
        transaction("a", fee=100, weight=1_000),
        transaction("large", fee=500, weight=10_000),
        transaction("small", fee=10, weight=500),
    ]
    assert kept(template(transactions=listed, weight_limit=SMALL.weight + 2_000)) == [0, 2]


def test_a_child_goes_with_its_parent(transaction: Make, template: MakeTemplate) -> None:
    listed = [
        transaction("a", fee=100, weight=1_000),
        transaction("parent", fee=50, weight=5_000),
        transaction("child", fee=1, weight=400, depends=[1]),
        transaction("grandchild", fee=1, weight=400, depends=[2]),
        transaction("other", fee=1, weight=400),
    ]
    assert kept(template(transactions=listed, weight_limit=SMALL.weight + 4_000)) == [0, 4]


def test_a_parent_that_its_child_pays_for_is_not_kept_without_it(
    transaction: Make, template: MakeTemplate
) -> None:
    listed = [
        transaction("parent", fee=0, weight=1_000),
        transaction("second parent", fee=0, weight=1_000),
        transaction("child", fee=9_000, weight=4_000, depends=[0, 1]),
        transaction("other", fee=100, weight=1_000),
    ]
    assert kept(template(transactions=listed, weight_limit=SMALL.weight + 3_000)) == [3]
    assert kept(template(transactions=listed, weight_limit=SMALL.weight + 6_000)) == [0, 1, 2]


def test_one_that_the_node_prefers_without_a_fee_takes_no_others_with_it(
    transaction: Make, template: MakeTemplate
) -> None:
    listed = [transaction("preferred", fee=0, weight=3_000)]
    listed += [transaction(str(rank), fee=100 - rank, weight=1_000) for rank in range(4)]
    assert kept(template(transactions=listed, weight_limit=SMALL.weight + 5_000)) == [0, 1, 2]


@st.composite
def templates(draw: st.DrawFn) -> list[tuple[int, int, int, list[int]]]:
    listed = []
    for place in range(draw(st.integers(0, 25))):
        depends = draw(st.lists(st.integers(0, place - 1), max_size=3)) if place else []
        listed.append(
            (draw(st.integers(0, 1000)), draw(st.integers(200, 4000)), draw(st.integers(0, 80)), depends)
        )
    return listed


def test_whatever_is_chosen_fits_is_in_order_and_has_its_ancestors(
    transaction: Make, template: MakeTemplate
) -> None:
    @settings(max_examples=80, deadline=None)
    @given(
        templates(), st.integers(0, 60_000), st.integers(0, 1_000), st.integers(0, 2_000), st.integers(0, 20)
    )
    def check(
        rows: list[tuple[int, int, int, list[int]]], weight: int, sigops: int, size: int, own_sigops: int
    ) -> None:
        listed = [
            transaction(str(place), fee=fee, weight=row_weight, sigops=row_sigops, depends=depends)
            for place, (fee, row_weight, row_sigops, depends) in enumerate(rows)
        ]
        whole = template(transactions=listed, weight_limit=weight, sigop_limit=sigops)
        constraints = Constraints(size, own_sigops)
        chosen = kept(whole, constraints)
        stay = [whole.transactions[place] for place in chosen]
        assert list(select(whole, constraints)) == stay
        for place in chosen:
            assert set(whole.transactions[place].depends) <= set(chosen)
        if chosen:
            assert sum(each.weight for each in stay) + constraints.weight <= weight
            assert sum(each.sigops for each in stay) + constraints.sigop_cost <= sigops

    check()
