"""Law 9 behind a pool that sends what it likes: a header space has one price until its tip has gone."""

from random import Random

import pytest

from protocols.translation import standing_price
from protocols.translation.standing_price import Contents, StandingPrice

TIP, OTHER = b"t" * 32, b"o" * 32


def test_a_content_that_comes_again_has_its_number_and_its_price() -> None:
    contents, price = Contents(), StandingPrice()
    first = contents.number(TIP, b"a")
    assert price.may_change(first)
    assert price.present is None
    price.set(first, 100)
    second = contents.number(TIP, b"b")
    assert second > first
    price.set(second, 50)
    assert contents.number(TIP, b"a") == first
    assert not price.may_change(first)
    assert not price.may_change(second)
    assert (price.of(first), price.of(second)) == (100, 50)


def test_a_target_that_stays_takes_no_room_and_its_content_is_fixed_all_the_same() -> None:
    contents, price = Contents(), StandingPrice()
    price.set(contents.number(TIP, b"a"), 100)
    price.set(contents.number(TIP, b"b"), 100)
    assert not price.may_change(contents.number(TIP, b"b"))
    price.set(contents.number(TIP, b"c"), 7)
    assert price.of(contents.number(TIP, b"b")) == 100


def test_what_came_before_the_miner_has_the_first_price_that_it_was_told() -> None:
    contents, price = Contents(), StandingPrice()
    early = contents.number(TIP, b"early")
    late = contents.number(TIP, b"late")
    price.set(late, 9)
    assert not price.may_change(early)
    assert price.of(early) == 9


def test_a_pool_that_goes_back_to_a_tip_finds_its_prices_there() -> None:
    contents, price = Contents(), StandingPrice()
    first = contents.number(TIP, b"a")
    price.set(first, 100)
    price.set(contents.number(OTHER, b"b"), 3, oldest=contents.oldest)
    assert contents.number(TIP, b"a") == first
    assert price.of(first) == 100


def test_tips_that_are_long_gone_are_forgotten() -> None:
    contents, price = Contents(), StandingPrice()
    for place in range(standing_price.TIPS + 2):
        number = contents.number(b"%032d" % place, b"a")
        price.set(number, 100 + place, oldest=contents.oldest)
    assert contents.oldest == 3
    assert price.of(1) == price.of(3) == 102
    assert Contents().oldest == 1


def test_with_more_contents_than_are_told_apart_no_price_changes_before_the_tip_does() -> None:
    contents, price = Contents(limit=3), StandingPrice()
    price.set(contents.number(OTHER, b"z"), 200)
    for name in (b"a", b"b", b"c"):
        price.set(contents.number(TIP, name), ord(name))
    flooded = contents.number(TIP, b"d")
    assert not price.may_change(flooded)
    assert price.of(flooded) == ord("c")
    assert price.of(contents.number(TIP, b"a")) == ord("a")
    assert price.may_change(contents.number(b"n" * 32, b"e"))


def test_with_more_prices_than_are_told_apart_the_last_one_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_price, "STEPS", 2)
    contents, price = Contents(), StandingPrice()
    price.set(contents.number(TIP, b"a"), 1)
    price.set(contents.number(TIP, b"b"), 2)
    assert not price.may_change(contents.number(TIP, b"c"))
    assert price.of(contents.number(TIP, b"c")) == 2


@pytest.mark.parametrize("seed", range(20))
def test_no_content_ever_has_two_prices_whatever_the_pool_sends(seed: int) -> None:
    random = Random(seed)
    contents, price = Contents(), StandingPrice()
    seen: dict[tuple[bytes, bytes], int] = {}
    tips = [b"%032d" % place for place in range(3)]
    for _ in range(400):
        tip, content = random.choice(tips), b"%d" % random.randrange(30)
        number = contents.number(tip, content)
        if price.may_change(number):
            price.set(number, random.randrange(1, 10), oldest=contents.oldest)
        target = price.of(number)
        assert seen.setdefault((tip, content), target) == target
