"""Miners of the pool-side instance: what their shares are worth, to whom, and by whose word."""

from collections.abc import AsyncIterator, Awaitable, Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work, work
from protocols.ehash.amount import Valuation, share_amount
from protocols.ehash.key_text import encode_key
from protocols.ehash.shift import ShiftRule
from protocols.mining.credit_target import CreditRule
from protocols.translation.standing_price import Contents
from roles.credit.disk import DiskWatch
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import LedgerRow
from roles.credit.shift_roll import Pricing
from roles.runtime.errors import StorageError
from roles.runtime.readiness import Readiness
from roles.runtime.storage import Database
from roles.stratum.difficulties import Difficulties
from roles.stratum.submissions import ACCEPTED, LOST, Outcome, Verdict
from roles.sv1_proxy import job_log
from roles.sv1_proxy.credit_desk import CreditDesk
from roles.sv1_proxy.credit_meters import CreditMeters
from roles.sv1_proxy.credited_guest import CreditedGuest, CreditTerms, House
from roles.sv1_proxy.job_log import JobLog
from roles.sv1_proxy.schema import MIGRATIONS
from shared_config.sv1_proxy_pool import JobLogSettings
from tests.roles.translator.fake_miners import FakeMiner
from tests.roles.translator.test_resume import Returning

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
IDENTITY = public_key(bytes(31) + b"\x01")
KEY, OTHER = public_key(bytes(31) + b"\x02"), public_key(bytes(31) + b"\x03")
REFUSED = Verdict(Outcome.REFUSED, "stale-share")
EASY = Fraction(1, 1 << 30)
"""Of some four hashes: every share of ours is good for such a pool."""
HARD = Fraction(1, 1 << 12)


class Issuer:
    """Ledger, desk and what miners have in common."""

    def __init__(self, database: Database, ledger: Ledger, state: Path) -> None:
        self.registry = CollectorRegistry()
        meters = CreditMeters(self.registry)
        self.database, self.ledger = database, ledger
        self.log = JobLog(database, JobLogSettings(), meters)
        ledger.on_write = self.log.flush
        self.disk = DiskWatch(state, 0, meters.disk_free, Readiness())
        self.desk = CreditDesk(
            ledger,
            self.log,
            self.disk,
            meters,
            minimum=0,
            valuation=Valuation.TARGET,
            asks_pool=False,
            hardest=1,
        )
        terms = CreditTerms(CreditRule(0, 64), 6.0, keyless=False)
        accounts = {"first": "account", "second": "other"}
        self.house = House(self.desk, terms, Contents(), Difficulties(100), accounts)

    async def rows(self) -> list[LedgerRow]:
        return await self.ledger.rows_after(0, 1_000)

    async def table(self, name: str) -> list[Any]:
        return await self.database.read(
            lambda connection: connection.execute(f"SELECT * FROM {name}").fetchall()
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_sv1_proxy_{name}", labels) or 0.0


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with Database.open(tmp_path / "ledger.sqlite", MIGRATIONS) as database:
        rule = ShiftRule(block_hashes=1 << 90)
        ledger = await Ledger.open(database, IDENTITY, Pricing(0, Valuation.TARGET), rule=rule)
        yield Issuer(database, ledger, tmp_path)


@pytest.fixture
async def house(build: Callable[..., Any], issuer: Issuer) -> Any:
    made = build(make=partial(CreditedGuest, issuer.house), own_shares_per_minute=0.0)
    made.trunk.names["account"] = "x"
    return made


async def miner(house: Any, key: bytes = KEY, kind: type[FakeMiner] = FakeMiner, **more: Any) -> Any:
    return await house.miner(kind, password=f"k={encode_key(key)}", **more)


def prices(house: Any, *targets: int) -> list[int]:
    """Have the miners of a house want these targets, one for each work that differs; returns those left."""
    left = list(targets)
    for guest in house.relay:
        guest._choose = lambda _pools: left.pop(0)
    return left


async def moved_on(rig: Any, before: str) -> None:
    """Wait until a miner has other work than that."""
    await rig.until(lambda: rig.jobs and rig.jobs[-1].id != before)


async def test_a_share_stands_in_the_ledger_before_its_miner_hears_of_it(house: Any, issuer: Issuer) -> None:
    rig = await miner(house)
    assert (await rig.mine())["result"] is True
    (row,) = await issuer.rows()
    assert row.key == KEY
    assert row.header[4:36] == house.trunk.job.notify.previous
    assert row.amount == share_amount(row.share_hash, row.target, 0) > 0
    assert from_work(int(rig.jobs[-1].difficulty * (1 << 48) / 65535)) == row.target
    assert issuer.count("shares_credited_total") == 1
    assert issuer.count("share_work_total") == work(row.target)


async def test_work_that_the_pool_sends_again_with_another_difficulty_keeps_its_price(
    house: Any, issuer: Issuer, eventually: Eventually
) -> None:
    rig = await miner(house)
    first, dear, cheap = rig.jobs[-1].difficulty, from_work(4096), from_work(128)
    left = prices(house, dear, cheap)
    await rig.mine()
    for difficulty in (HARD, EASY, Fraction(1, 1 << 20)):
        before = rig.jobs[-1].id
        house.trunk.again(difficulty)
        await moved_on(rig, before)
        assert (await rig.mine())["result"] is True
    assert left == [dear, cheap]
    assert len({job.difficulty for job in rig.jobs}) == 1
    house.trunk.work(clean=False)
    await eventually(lambda: left == [cheap])
    await rig.until(lambda: rig.jobs[-1].difficulty > first)
    await rig.mine()
    *same, other = await issuer.rows()
    assert len({row.target for row in same}) == 1
    assert other.target == dear
    assert issuer.count("prices_kept_total") >= 3


async def test_a_header_space_has_one_target_in_the_ledger_whatever_the_pool_sends(
    house: Any, issuer: Issuer
) -> None:
    seed = 6
    print(f"seed {seed}")
    random = Random(seed)
    rig = await miner(house)
    (guest,) = house.relay
    guest._choose = lambda pools: from_work(random.choice((64, 96, 200, 400)))
    for _ in range(40):
        before = rig.jobs[-1].id
        if random.random() < 0.5:
            house.trunk.again(Fraction(1, 1 << random.randrange(16, 31)), clean=random.random() < 0.3)
        else:
            house.trunk.work(clean=random.random() < 0.3)
        await moved_on(rig, before)
        await rig.mine()
    targets: dict[bytes, set[int]] = {}
    for row in await issuer.rows():
        targets.setdefault(row.header[4:36] + _job_of(house, row), set()).add(row.target)
    assert len(targets) > 5
    assert all(len(of_one) == 1 for of_one in targets.values())


def _job_of(house: Any, row: LedgerRow) -> bytes:
    """The content on whose coinbase a header commits, found by trying all."""
    for job in house.trunk._jobs.values():
        for slice_ in (guest.granted.extranonce1 for guest in house.relay):
            for counter in range(200):
                extranonce2 = slice_ + counter.to_bytes(4, "big")
                root = job.pattern.prover.root(job.granted.extranonce1 + extranonce2)
                if root == row.header[36:68]:
                    return bytes(job.content)
    raise AssertionError("a header of no job")


async def test_a_credit_target_is_never_harder_than_the_pools(house: Any, issuer: Issuer) -> None:
    house.trunk.difficulty = EASY
    house.trunk.work()
    rig = await miner(house)
    assert (await rig.mine())["result"] is True
    (row,) = await issuer.rows()
    assert work(row.target) <= work(house.trunk.job.target)


async def test_only_shares_that_the_pool_wants_go_there_and_all_are_credited(
    house: Any, issuer: Issuer, eventually: Eventually
) -> None:
    house.trunk.verdict = REFUSED
    rig = await miner(house)
    for _ in range(30):
        assert (await rig.mine())["result"] is True
    rows = await issuer.rows()
    wanted = [row for row in rows if int.from_bytes(row.share_hash, "little") <= house.trunk.job.target]
    assert len(rows) == 30
    assert len(house.trunk.shares) == len(wanted)
    await eventually(lambda: issuer.count("logged_total", what="share") == len(wanted))
    logged = await issuer.table("upstream_share")
    assert {row["hash"] for row in logged} == {row.share_hash for row in wanted}
    assert {(row["outcome"], row["code"], row["key"]) for row in logged} <= {("refused", "stale-share", KEY)}
    (job,) = await issuer.table("upstream_job")
    assert job["content"] == house.trunk.job.content
    assert (job["pool"], job["account"]) == ("first", "account")


@pytest.mark.parametrize(
    ("verdict", "told", "why"),
    [(ACCEPTED, None, ""), (REFUSED, "Stale", "pool-refused"), (LOST, "No verdict from pool", "pool-silent")],
)
async def test_by_the_pools_word_a_share_that_goes_there_is_credited_if_it_was_accepted(
    house: Any, issuer: Issuer, verdict: Verdict, told: str | None, why: str
) -> None:
    issuer.desk.asks_pool = True
    house.trunk.difficulty, house.trunk.verdict = EASY, verdict
    house.trunk.work()
    rig = await miner(house)
    reply = await rig.mine()
    assert (reply["error"] and reply["error"][1]) == told
    assert len(await issuer.rows()) == (told is None)
    if why:
        assert issuer.count("shares_not_credited_total", why=why) == 1


async def test_by_the_pools_word_a_verdict_that_comes_late_still_earns(
    build: Callable[..., Any], issuer: Issuer, eventually: Eventually
) -> None:
    made = build(make=partial(CreditedGuest, issuer.house), own_shares_per_minute=0.0, verdict_s=0.05)
    made.trunk.names["account"] = "x"
    issuer.desk.asks_pool = True
    made.trunk.difficulty, made.trunk.verdict = EASY, None
    made.trunk.work()
    rig = await miner(made)
    assert (await rig.mine())["error"][1] == "No verdict from pool"
    assert await issuer.rows() == []
    (settle,) = made.trunk.settles
    settle(ACCEPTED)
    await eventually(lambda: issuer.ledger.last_seq == 1)


async def test_what_is_too_easy_for_the_pool_is_ours_to_judge_by_either_policy(
    house: Any, issuer: Issuer
) -> None:
    issuer.desk.asks_pool = True
    house.trunk.difficulty, house.trunk.verdict = Fraction(1), REFUSED
    house.trunk.work()
    rig = await miner(house)
    assert (await rig.mine())["result"] is True
    assert house.trunk.shares == []
    assert len(await issuer.rows()) == 1


async def test_workers_on_one_connection_earn_under_their_own_keys(house: Any, issuer: Issuer) -> None:
    rig = await miner(house, user="one")
    long = "w" * 70
    for number, (name, key) in enumerate((("two", OTHER), (long, IDENTITY)), 50):
        rig.write({"id": number, "method": "mining.authorize", "params": [name, f"k={encode_key(key)}"]})
        assert (await rig.reply(number))["result"] is True
    for name in ("one", "two", long[:63]):
        rig.user = name
        assert (await rig.mine())["result"] is True
    assert [row.key for row in await issuer.rows()] == [KEY, OTHER, IDENTITY]
    rig.user = "three"
    assert (await rig.mine())["error"][1] == "Unauthorized worker"


async def test_workers_that_share_a_connection_show_as_many_shares_as_each_would_alone(
    house: Any, issuer: Issuer
) -> None:
    rig = await miner(house, user="one")
    (guest,) = house.relay
    guest._wanted = 2_000
    for number in range(10, 19):
        params = [f"worker{number}", f"k={encode_key(OTHER)}"]
        rig.write({"id": number, "method": "mining.authorize", "params": params})
        assert (await rig.reply(number))["result"] is True
    before = rig.jobs[-1].id
    house.trunk.work()
    await moved_on(rig, before)
    await rig.mine()
    (row,) = await issuer.rows()
    assert 2_000 / 10 <= work(row.target) < 2_000 / 10 * 1.25


async def test_a_miner_without_a_key_is_refused_or_served_for_nothing(house: Any, issuer: Issuer) -> None:
    stranger = await house.connect(password="x")
    stranger.write(
        {"id": 1, "method": "mining.subscribe", "params": ["fake/1.0"]},
        {"id": 2, "method": "mining.authorize", "params": ["nobody", "x"]},
    )
    stranger.listen()
    assert "No key" in (await stranger.reply(2))["error"][1]
    issuer.house.terms.keyless = True
    guest = await house.miner(password="x")
    assert (await guest.mine())["result"] is True
    assert await issuer.rows() == []
    assert len(await issuer.table("unattributed")) == 1


async def test_a_share_that_cannot_be_stored_may_come_again(house: Any, issuer: Issuer) -> None:
    rig = await miner(house)
    params = rig.find(await rig.job())
    enter = issuer.desk._enter
    issuer.desk._enter = lambda entries, told, about=None: told(about, StorageError("no disk"), 0)
    assert (await rig.submit(params))["error"][1] == "No verdict from pool"
    issuer.desk._enter = enter
    assert (await rig.submit(params))["result"] is True
    assert (await rig.submit(params))["error"][1] == "Duplicate share"
    assert len(await issuer.rows()) == 1
    assert issuer.count("shares_not_credited_total", why="not-stored") == 1


async def test_a_disk_that_is_nearly_full_takes_no_shares(house: Any, issuer: Issuer) -> None:
    issuer.disk.is_low = True
    rig = await miner(house)
    assert (await rig.mine())["error"][1] == "ledger-full"
    assert await issuer.rows() == []


async def test_a_miner_that_comes_back_finds_the_price_of_its_work_as_it_was(
    house: Any, issuer: Issuer
) -> None:
    rig = await miner(house, kind=Returning)
    await rig.mine()
    (first,) = house.relay
    price = first._price.present
    back = Returning()
    back.session, back.password = rig.session, rig.password
    await rig.close()
    house.miners.append(back)
    await back.connect(house.server.address.port)
    await back.start()
    (second,) = house.relay
    assert second is not first
    assert back.extranonce1 == rig.extranonce1
    prices(house, from_work(100_000))
    house.trunk.again(HARD)
    assert (await back.mine())["result"] is True
    assert {row.target for row in await issuer.rows()} == {price}


async def test_a_loss_of_the_pool_costs_no_socket_and_its_next_work_has_a_price_of_its_own(
    house: Any, issuer: Issuer
) -> None:
    rig = await miner(house)
    await rig.mine()
    house.trunk.lose()
    house.trunk.come_back()
    house.trunk.names["account"] = "x"
    await rig.until(lambda: rig.jobs and "000002" in rig.jobs[-1].params[2])
    assert (await rig.mine())["result"] is True
    assert len(await issuer.rows()) == 2
    assert not rig.is_gone


async def test_the_pools_words_are_written_with_the_ledgers_next_write_or_when_they_are_many(
    house: Any, issuer: Issuer, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_log, "GATHER_S", 60.0)
    house.trunk.difficulty, house.trunk.verdict = EASY, None
    house.trunk.work()
    rig = await miner(house)
    await rig.mine()
    first, *_ = house.trunk.settles
    first(REFUSED)
    assert await issuer.table("upstream_share") == []
    await rig.mine()
    assert [row["outcome"] for row in await issuer.table("upstream_share")] == ["refused"]
    monkeypatch.setattr(job_log, "AT_ONCE", 1)
    house.trunk.settles[1](ACCEPTED)
    await eventually(lambda: issuer.count("logged_total", what="share") == 2)
    assert [row["outcome"] for row in await issuer.table("upstream_share")] == ["refused", "accepted"]


async def test_the_pools_words_do_not_wait_for_long(
    house: Any, issuer: Issuer, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_log, "GATHER_S", 0.01)
    house.trunk.difficulty, house.trunk.verdict = EASY, None
    house.trunk.work()
    rig = await miner(house)
    await rig.mine()
    house.trunk.settles[0](REFUSED)
    await eventually(lambda: issuer.count("logged_total", what="share") == 1)


async def test_a_job_that_could_not_be_written_is_written_when_the_store_works_again(
    house: Any, issuer: Issuer, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_log, "AGAIN_S", 0.01)
    submit = issuer.database.submit

    def fail(_: object, done: Callable[[object, BaseException | None], None]) -> None:
        done(None, StorageError("no disk"))

    monkeypatch.setattr(issuer.database, "submit", fail)
    await miner(house)
    assert issuer.count("logged_total", what="failed") >= 1
    monkeypatch.setattr(issuer.database, "submit", submit)
    await eventually(lambda: issuer.count("logged_total", what="job") == 1)
    (job,) = await issuer.table("upstream_job")
    assert job["content"] == house.trunk.job.content


async def test_the_job_log_forgets_what_is_too_old_and_what_is_too_much(
    house: Any, issuer: Issuer, eventually: Eventually
) -> None:
    bounds: Any = JobLogSettings
    await miner(house)
    for _ in range(5):
        house.trunk.work()
    await eventually(lambda: issuer.count("logged_total", what="job") == 6)
    assert await issuer.log.prune() > 0
    assert len(await issuer.table("upstream_job")) == 6
    issuer.log.settings = bounds.model_construct(days=400.0, megabytes=0.001)
    assert await issuer.log.prune() <= 1_000
    assert 0 < len(await issuer.table("upstream_job")) < 6
    issuer.log.settings = bounds.model_construct(days=-1.0, megabytes=1)
    assert await issuer.log.prune() == 0
    assert await issuer.table("upstream_job") == []
