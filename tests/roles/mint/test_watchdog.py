from collections.abc import Sequence

import pytest

from protocols.cashu.errors import MintingDisabledError
from roles.mint import accounts
from roles.mint.halts import Halts
from roles.mint.keyset_gauges import KeysetGauges
from roles.mint.watchdog import Watchdog
from roles.runtime.storage import Connection, IntegrityError
from shared_config.mint import WatchdogSettings
from tests.roles.mint.house import House

SETTINGS = WatchdogSettings(every_s=1, duty=1)


class Kennel:
    """A house with a watchdog that works by hand."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.halts = Halts(house.database, house.clock)
        self.watchdog = Watchdog(
            house.database, self.halts, SETTINGS, house.registry, house.meters.alarm, clock=house.clock
        )
        house.teller = house.open_teller(halts=self.halts)

    async def damage(self, *statements: str) -> None:
        def write(connection: Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        await self.house.database.write(write)

    async def work(self, times: int = 1) -> None:
        """Quotes, mints and swaps."""
        for _ in range(times):
            proofs = await self.house.tokens(4, 2)
            await self.house.teller.swap(self.house.swap(proofs))

    async def check(self) -> list[str]:
        return [str(each) for each in await self.watchdog.check()]


@pytest.fixture
def kennel(house: House) -> Kennel:
    return Kennel(house)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "BATCH", 3)
    monkeypatch.setattr(accounts, "LAG", 2)
    monkeypatch.setattr(accounts, "BLOCK", 1)


async def test_books_that_agree_are_left_alone(kennel: Kennel, small_batches: None) -> None:
    assert await kennel.check() == []
    for _ in range(4):
        await kennel.work(3)
        assert await kennel.check() == []
    assert kennel.house.metric("watchdog_rows_total") > 50
    assert kennel.halts.stops_all is None


async def test_what_was_counted_is_not_counted_again(kennel: Kennel, small_batches: None) -> None:
    await kennel.work(5)
    await kennel.check()
    before = kennel.house.metric("watchdog_rows_total")
    await kennel.check()
    assert kennel.house.metric("watchdog_rows_total") == before
    await kennel.watchdog.recount()
    assert kennel.house.metric("watchdog_rows_total") == 2 * before


@pytest.mark.parametrize(
    ("statements", "account"),
    [
        (["UPDATE keyset SET issued = issued + 1 WHERE keyset_no = 1"], "issued of 1"),
        (["UPDATE keyset SET redeemed = redeemed - 1 WHERE keyset_no = 1"], "redeemed of 1"),
        (["UPDATE promise SET amount = amount * 2 WHERE promise_no = 1"], "issued of 1"),
        (["DELETE FROM spent WHERE spent_no = 2"], "redeemed of 1"),
        (
            ["UPDATE shift SET credited = credited - 1 WHERE issuer_no = 1"],
            "credited of",
        ),
        (["UPDATE quote SET amount_issued = 5 WHERE quote_no = 1"], "quotes of quote number 1"),
        (["UPDATE issue SET amount = 5 WHERE request_no = 1"], "requests of request number 1"),
    ],
)
@pytest.mark.parametrize("counted_before", [False, True])
async def test_a_difference_stops_issuing_and_says_where_it_is(
    kennel: Kennel, statements: Sequence[str], account: str, counted_before: bool
) -> None:
    await kennel.work(2)
    if counted_before:
        assert await kennel.check() == []
    await kennel.damage(*statements)
    found = await kennel.check() or [str(each) for each in await kennel.watchdog.recount()]
    assert any(each.startswith(account) for each in found), found
    assert kennel.halts.stops_all is not None
    assert account in kennel.halts.stops_all.reason
    assert kennel.house.metric("alarms_total", kind="watchdog") == 1
    assert kennel.house.metric("watchdog_differences") == len(found)
    with pytest.raises(MintingDisabledError):
        await kennel.work()
    await kennel.check()
    assert kennel.house.metric("alarms_total", kind="watchdog") == 1, "one alarm for one stop"


async def test_what_was_remembered_wrongly_stops_nobody(kennel: Kennel, small_batches: None) -> None:
    await kennel.work(3)
    await kennel.check()
    (tally, *_) = kennel.watchdog._count.tallies
    tally.sums["1"] += 1
    assert await kennel.check() == []
    assert kennel.halts.stops_all is None


async def test_the_store_itself_refuses_to_redeem_more_than_was_issued(kennel: Kennel) -> None:
    await kennel.work()
    with pytest.raises(IntegrityError, match=r"CHECK|check"):
        await kennel.damage("UPDATE keyset SET redeemed = issued + 1")
    assert await kennel.check() == []


async def test_the_newest_keysets_have_metrics_of_their_own_and_the_others_are_summed(house: House) -> None:
    await house.tokens(4)
    await house.database.write(
        lambda c: c.execute("UPDATE keyset SET issued = 9000000000000000000, redeemed = 1") and None
    )
    for newest, shown in ((1, 1), (2, 2), (0, 0)):
        gauges = KeysetGauges(house.database, house.registry, newest)
        await gauges.refresh()
        samples = [
            sample
            for family in house.registry.collect()
            if family.name == "hashpool_mint_keyset_issued"
            for sample in family.samples
        ]
        assert len([each for each in samples if each.labels["keyset"] != "others"]) == shown
        assert sum(each.value for each in samples) == 2 * 9e18
        assert house.metric("keysets") == 2
        for gauge in (gauges._issued, gauges._redeemed, gauges._outstanding, gauges._keysets):
            house.registry.unregister(gauge)
