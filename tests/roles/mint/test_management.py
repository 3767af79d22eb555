import json
import stat
from pathlib import Path
from typing import Any

import pytest

from protocols.cashu.errors import MintingDisabledError
from roles.mint.errors import OrderUnreadable, PauseRefused, RepairRefused, RotationRefused, StillDifferent
from roles.mint.halts import WATCHDOG, Halts
from roles.mint.keyset_watch import KeysetWatch
from roles.mint.management import Bench, Management
from roles.mint.notice_board import NoticeBoard
from roles.mint.schema import MIGRATIONS
from roles.mint.seed import MintSeed
from roles.mint.watchdog import Watchdog
from roles.runtime.errors import BackupFailed
from roles.runtime.readiness import Readiness
from roles.runtime.storage import Connection, Database, SqliteDatabase
from shared_config.mint import WatchdogSettings
from tests.roles.mint.house import NOW, House

SAT = "sat"
TOTALS = "SELECT sum(issued), sum(redeemed) FROM keyset"


class Desk:
    """A house's management, asked by plain objects."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.halts = Halts(house.database, house.clock)
        self.readiness = Readiness()
        self.board = NoticeBoard()
        watch = KeysetWatch(house.book, house.database, house.seed)

        async def book_changed() -> None:
            await watch.refresh(everything=True)

        self.watchdog = Watchdog(
            house.database, self.halts, WatchdogSettings(), house.registry, house.meters.alarm
        )
        bench = Bench(
            house.database,
            house.seed,
            self.halts,
            self.watchdog,
            self.readiness,
            "http://mint",
            Path("state"),
            ["ehash", "bolt11"],
            self.board,
            None,
            book_changed,
            house.clock,
        )
        self.management = Management(bench)
        house.teller = house.open_teller(halts=self.halts)

    async def __call__(self, order: str, **fields: object) -> Any:
        line = json.dumps({"order": order, **fields}).encode()
        return json.loads(await self.management.answer(line))


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk(house)


async def journal(desk: Desk) -> list[tuple[str, str, str]]:
    told = await desk("journal")
    return [(each["action"], each["subject"], each["detail"]) for each in told["entries"]]


async def add_sat(house: House) -> None:
    """A unit with one keyset and a paid quote of 8, not locked, and one that is unpaid."""

    def write(connection: Connection) -> None:
        from roles.mint.keyset_rows import create

        house.book.add(create(connection, house.seed, SAT, NOW))
        for number, paid in enumerate((8, 0)):
            connection.execute(
                "INSERT INTO quote (quote_id, method, unit, amount, amount_paid, updated_at, created_at)"
                " VALUES (?, 'bolt11', 'sat', 8, ?, ?, ?)",
                (f"sat-{number}", paid, NOW, NOW),
            )

    await house.database.write(write)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"{", "order: Invalid JSON"),
        (b'{"order": "burn"}', "order: Input tag 'burn'"),
        (b'{"order": "rotate"}', "unit: Field required"),
        (b'{"order": "pause", "scope": "everything", "reason": "x"}', "scope: String should match"),
        (b'{"order": "status", "color": 1}', "color: Extra inputs"),
        (b'{"order": "rotate", "unit": "sat", "fee_ppk": -1}', "fee_ppk: Input should be greater"),
    ],
)
async def test_an_order_that_is_none_is_refused_with_what_is_wrong(
    desk: Desk, line: bytes, text: str
) -> None:
    with pytest.raises(OrderUnreadable) as caught:
        await desk.management.answer(line)
    assert caught.value.text.startswith(text)


async def test_status_tells_what_the_mint_lacks_and_what_is_stopped(desk: Desk) -> None:
    desk.readiness.declare("http", "starting")
    await add_sat(desk.house)
    await desk("pause", scope="unit:sat", reason="maintenance")
    told = await desk("status")
    assert told["url"] == "http://mint"
    assert (told["ready"], told["reasons"]) == (False, {"http": "starting"})
    assert told["halts"] == [{"scope": "unit:sat", "reason": "maintenance", "since": NOW}]
    assert (told["keysets"], told["active_keysets"]) == (3, 3)


async def test_a_pause_of_issuing_refuses_every_output_and_answers_what_was_done_before(desk: Desk) -> None:
    house = desk.house
    first, second = await house.credit(4, 8)
    done = house.claim(first, house.basket(4))
    signatures = await house.teller.mint(done)
    proofs = await house.tokens(2)
    assert await desk("pause", scope="issuing", reason="an alarm") == {"changed": True}
    assert await desk("pause", scope="issuing", reason="another") == {"changed": False}
    with pytest.raises(MintingDisabledError, match="issues nothing"):
        await house.teller.mint(house.claim(second, house.basket(8)))
    with pytest.raises(MintingDisabledError):
        await house.teller.swap(house.swap(proofs))
    assert await house.teller.mint(done) == signatures
    assert await house.credit(16), "shares still become quotes"
    assert await desk("resume", scope="issuing", reason="mended") == {"changed": True}
    assert await desk("resume", scope="issuing", reason="mended") == {"changed": False}
    assert await house.teller.mint(house.claim(second, house.basket(8)))
    assert await journal(desk) == [("resume", "issuing", "mended"), ("pause", "issuing", "an alarm")]


async def test_a_pause_of_a_unit_or_method_leaves_the_others_alone(desk: Desk) -> None:
    house = desk.house
    quotes = await house.credit(4, 8)
    proofs = await house.tokens(2)
    await desk("pause", scope=f"unit:{house.unit}", reason="x")
    for work in (
        house.teller.mint(house.claim(quotes[0], house.basket(4))),
        house.teller.swap(house.swap(proofs)),
    ):
        with pytest.raises(MintingDisabledError, match="of this unit"):
            await work
    desk.halts.check(SAT, "bolt11")
    await desk("resume", scope=f"unit:{house.unit}", reason="x")
    await desk("pause", scope="method:ehash", reason="x")
    with pytest.raises(MintingDisabledError, match="method"):
        await house.teller.mint(house.claim(quotes[0], house.basket(4)))
    assert await house.teller.swap(house.swap(proofs)), "what is there moves"


async def test_halts_hold_over_a_restart_and_are_seen_by_other_processes(desk: Desk) -> None:
    await desk("pause", scope="issuing", reason="first process")
    other = Halts(desk.house.database, desk.house.clock)
    other.check(SAT)
    await other.refresh()
    with pytest.raises(MintingDisabledError):
        other.check(SAT)
    assert other.stops_all is not None
    assert other.stops_all.reason == "first process"


async def test_the_watchdogs_stop_is_not_lifted_by_a_resume(desk: Desk) -> None:
    await desk.halts.stop(WATCHDOG, "the books differ", "stop")
    with pytest.raises(OrderUnreadable):
        await desk("resume", scope="watchdog", reason="never mind")
    assert await desk("resume", scope="issuing", reason="never mind") == {"changed": False}
    with pytest.raises(MintingDisabledError):
        desk.halts.check(SAT)


async def test_a_rotation_gives_a_unit_its_next_keyset_while_it_is_served(desk: Desk) -> None:
    house = desk.house
    await add_sat(house)
    (old,) = (keyset for keyset in house.book if keyset.unit == SAT)
    told = await desk("rotate", unit="SAT", fee_ppk=100, final_expiry=NOW + 1000)
    fresh = house.book.get(told["keyset_id"])
    assert (fresh.unit, fresh.index, fresh.active) == (SAT, old.index + 1, True)
    assert (fresh.input_fee_ppk, fresh.final_expiry) == (100, NOW + 1000)
    assert not house.book.get(old.keyset_id).active
    listed = (await desk("keysets", unit=SAT))["keysets"]
    assert [(each["keyset_id"], each["active"]) for each in listed] == [
        (fresh.keyset_id, True),
        (old.keyset_id, False),
    ]
    assert (await desk("keysets", limit=1))["more"] == 3
    assert (await journal(desk))[0][:2] == ("rotate", SAT)


async def test_a_rotation_survives_a_restart_with_its_fee_and_expiry(desk: Desk, tmp_path: Path) -> None:
    from roles.mint.keyset_rows import load

    house = desk.house
    await add_sat(house)
    told = await desk("rotate", unit=SAT, fee_ppk=7, final_expiry=NOW + 9)
    again = await house.database.read(lambda c: load(c, MintSeed(house.seed.raw)))
    assert again.get(told["keyset_id"]).input_fee_ppk == 7
    assert (await desk("rotate", unit=SAT))["input_fee_ppk"] == 7, "it stays as it is"


async def test_what_cannot_be_rotated_is_refused(desk: Desk) -> None:
    await add_sat(desk.house)
    with pytest.raises(RotationRefused, match="ehash has one keyset"):
        await desk("rotate", unit=desk.house.unit)
    with pytest.raises(RotationRefused, match="no unit 'eur'"):
        await desk("rotate", unit="eur")
    with pytest.raises(RotationRefused, match="passed already"):
        await desk("rotate", unit=SAT, final_expiry=NOW)
    assert await journal(desk) == []


async def test_a_quote_is_shown_with_what_was_issued_for_it(desk: Desk) -> None:
    house = desk.house
    (quote,) = await house.credit(8)
    await house.teller.mint(house.claim(quote, house.basket(2)))
    told = await desk("quote", quote=quote.quote_id)
    assert (told["state"], told["amount_paid"], told["amount_issued"]) == ("PAID", 8, 2)
    assert told["locked"]
    assert [each["amount"] for each in told["issues"]] == [2]
    with pytest.raises(RepairRefused, match="no quote"):
        await desk("quote", quote="none")


async def test_a_payment_that_the_mint_missed_is_entered_with_its_reason(desk: Desk) -> None:
    house = desk.house
    await add_sat(house)
    reason = "seen at the node, the backend was down"
    assert await desk("correct", quote="sat-1", amount_paid=8, reason=reason) == {"changed": True}
    assert await desk("correct", quote="sat-1", amount_paid=8, reason=reason) == {"changed": False}
    told = await desk("quote", quote="sat-1")
    assert (told["amount_paid"], told["state"]) == (8, "PAID")
    assert told["updated_at"] == NOW + 1
    assert await journal(desk) == [
        ("correct", "quote number 2", f"amount_paid 0 to 8, because: {reason}"),
    ]


async def test_corrections_that_would_make_or_lose_money_are_refused(desk: Desk) -> None:
    house = desk.house
    await add_sat(house)
    (share,) = await house.credit(8)
    for quote, paid, text in (
        ("sat-0", 9, "asks for 8"),
        ("none", 1, "no quote"),
        (share.quote_id, 4, "made of a share"),
    ):
        with pytest.raises(RepairRefused, match=text):
            await desk("correct", quote=quote, amount_paid=paid, reason="x")

    def issue(connection: Connection) -> None:
        connection.execute("UPDATE quote SET amount_issued = 8 WHERE quote_id = 'sat-0'")

    await house.database.write(issue)
    with pytest.raises(RepairRefused, match="issued already"):
        await desk("correct", quote="sat-0", amount_paid=7, reason="x")
    assert await journal(desk) == []


async def test_the_watchdog_tells_what_it_found_and_is_cleared_when_the_books_agree_again(desk: Desk) -> None:
    house = desk.house
    await house.tokens(4)
    told = await desk("recount")
    assert (told["on"], told["differences"], told["stopped"]) == (True, [], None)
    await house.database.write(
        lambda c: c.execute("UPDATE keyset SET issued = 5 WHERE keyset_no = 1") and None
    )
    told = await desk("recount")
    assert told["differences"] == ["issued of 1: the counter says 5, the rows sum to 4"]
    assert told["stopped"]["reason"].startswith("the books differ: issued of 1")
    with pytest.raises(StillDifferent, match="still differ"):
        await desk("clear", reason="hm")
    await house.database.write(
        lambda c: c.execute("UPDATE keyset SET issued = 4 WHERE keyset_no = 1") and None
    )
    assert await desk("clear", reason="put right") == {"changed": True}
    assert (await desk("watchdog"))["stopped"] is None
    assert await house.tokens(2)
    assert [each[:2] for each in await journal(desk)] == [("clear", "watchdog"), ("stop", "watchdog")]


async def test_without_lightning_there_is_no_melt_to_end(desk: Desk) -> None:
    with pytest.raises(RepairRefused, match="nothing is paid"):
        await desk("resolve", quote="any", outcome="paid", reason="x")


@pytest.mark.parametrize("order", ["pause", "resume"])
async def test_nothing_that_is_not_there_can_be_paused_or_go_on(desk: Desk, order: str) -> None:
    for scope in ("unit:eur", "method:bolt12"):
        with pytest.raises(PauseRefused, match="there is no"):
            await desk(order, scope=scope, reason="a slip of the finger")
    assert (await desk("status"))["halts"] == []


async def test_a_backup_is_a_store_of_its_own_with_all_that_was_committed(desk: Desk, tmp_path: Path) -> None:
    house = desk.house
    if not isinstance(house.database, SqliteDatabase):
        with pytest.raises(BackupFailed, match="backups of its own"):
            await desk("backup", path=str(tmp_path / "copy.sqlite"))
        return
    proofs = await house.tokens(4, 2)
    target = tmp_path / "copy.sqlite"
    told = await desk("backup", path=str(target))
    assert told["size_bytes"] == target.stat().st_size
    assert told["secret"].endswith("seed.key")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    await house.teller.swap(house.swap(proofs))
    async with Database.open(target, MIGRATIONS) as copied:
        assert await copied.read(lambda c: list(map(tuple, c.execute(TOTALS).fetchall()))) == [(6, 0)]
    assert await house.totals() == (12, 6)
    with pytest.raises(BackupFailed, match="there already"):
        await desk("backup", path=str(target))
    with pytest.raises(BackupFailed, match="cannot be written"):
        await desk("backup", path="/nowhere/copy.sqlite")
    assert [path.name for path in tmp_path.glob(".copy*")] == []
    assert (await journal(desk))[0][:2] == ("backup", str(target))
