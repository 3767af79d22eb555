"""Whatever breaks between a share and its tokens, each attributed share becomes exactly one quote."""

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from protocols.cashu.denominations import split
from protocols.cashu.errors import CashuError
from protocols.cashu.models import Proof
from roles.cli.auditing.sides import audit
from roles.cli.stores import MintStore, PoolStore
from roles.credit.ledger_rows import Entry, Fate
from roles.runtime.errors import CommitFailed
from roles.runtime.storage import open_readonly
from tests.roles.credit.broken_disk import Fault
from tests.roles.credit.money_path import SEED, World, entry
from tests.roles.credit.wallet import KEYS, Basket, Wallet, quote_of

T = TypeVar("T")
Share = tuple[int, int, int | None]
"""Its number, the hashes that it takes, and whose it is."""

HOUR, DAY = 3600.0, 86_400.0
HASHES: Final = (4, 6, 64)
OWNERS: Final = (0, 1, 2, None)
BOUNDS: Final = (None, 1 << 40, 300)
WINDOWS: Final = (1, 3)
JUMPS: Final = (0.0, 0.0, 1.0, -HOUR, HOUR, DAY)
FAULTS: Final[tuple[Fault, ...]] = ("before", "during", "after", "")
PATIENCE_S: Final = 30.0
MEMORY: Final = Path("/dev/shm")
IS_LONG: Final = bool(os.environ.get("HASHPOOL_TEST_LONG"))
SEED_OF_DICE: Final = int(os.environ.get("HASHPOOL_TEST_SEED") or 20_261_122)
LIVES, STEPS = (60, 400) if IS_LONG else (4, 120)

shares_of_miners = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from(HASHES), st.sampled_from(OWNERS)), min_size=1, max_size=5
)
faults_of_a_disk = st.lists(st.sampled_from(FAULTS), max_size=3)


class MoneyPath(RuleBasedStateMachine):
    """Shares go in, everything fails now and then, and at the end the audit must explain every share."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.world: World
        self.wallet = Wallet()
        self.owner_of: dict[bytes, int] = {}
        """Attributed shares that were acknowledged, and whose they are."""
        self.unattributed: set[bytes] = set()
        self.tokens: list[Proof] = []

    def run(self, doing: Awaitable[T]) -> T:
        """Do something in the world, which goes on meanwhile and stands still afterwards."""
        return self.loop.run_until_complete(asyncio.wait_for(doing, PATIENCE_S))

    @initialize(bound=st.sampled_from(BOUNDS), window=st.sampled_from(WINDOWS))
    def begin(self, bound: int | None, window: int) -> None:
        logging.disable(logging.CRITICAL)
        self.world = World(self.directory, bound=bound, window=window)
        self.run(self.world.start_mint())
        self.run(self.world.start_pool())

    @rule(shares=shares_of_miners, fault=st.sampled_from(("", *FAULTS)), times=st.integers(1, 2))
    def submit(self, shares: list[Share], fault: Fault, times: int) -> None:
        """Several callers at once; what is stored, and what is not, comes again, for this key and others."""
        if fault:
            self.world.pool_faults.waiting = [fault]
        for _ in range(times):
            self.run(self._submit(*_entries(shares)))

    async def _submit(self, entries: list[Entry], owners: list[int | None]) -> None:
        ledger = self.world.pool.ledger
        calls = [ledger.append([each]) for each in entries]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for each, owner, told in zip(entries, owners, answers, strict=True):
            if isinstance(told, CommitFailed):
                continue
            assert not isinstance(told, BaseException), told
            assert self._stands(each), "a share is acknowledged that is not durable"
            if told[0].fate is Fate.DUPLICATE:
                continue
            if owner is None:
                self.unattributed.add(each.share_hash)
            else:
                assert self.owner_of.setdefault(each.share_hash, owner) == owner

    def _stands(self, each: Entry) -> bool:
        with open_readonly(self.directory / "pool" / PoolStore.FILE) as store:
            query = "SELECT hash FROM share UNION ALL SELECT hash FROM unattributed"
            return each.share_hash in {row[0] for row in store.execute(query)}

    @rule(shares=shares_of_miners)
    def die_with_shares_under_way(self, shares: list[Share]) -> None:
        self.run(self._die(_entries(shares)[0]))

    async def _die(self, entries: list[Entry]) -> None:
        submitted = [asyncio.ensure_future(self.world.pool.ledger.append([each])) for each in entries]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.world.kill_pool()
        for each in submitted:
            each.cancel()
        await asyncio.gather(*submitted, return_exceptions=True)
        await self.world.start_pool()

    @rule(pool=faults_of_a_disk, mint=faults_of_a_disk)
    def fail_writes(self, pool: list[Fault], mint: list[Fault]) -> None:
        self.world.pool_faults.waiting, self.world.mint_faults.waiting = [*pool], [*mint]

    @rule(answers=st.integers(0, 3), questions=st.integers(0, 2), cut=st.booleans())
    def lose_frames(self, answers: int, questions: int, cut: bool) -> None:
        self.world.lost_answers, self.world.lost_questions = answers, questions
        if cut:
            self.world.cut()

    @rule()
    def restart_the_pool(self) -> None:
        self.run(self.world.kill_pool())
        self.run(self.world.start_pool())

    @rule()
    def stop_or_start_the_mint(self) -> None:
        self.run(self.world.kill_mint() if self.world.mint else self.world.start_mint())

    @rule(pool=st.sampled_from(JUMPS), mint=st.sampled_from(JUMPS))
    def set_clocks(self, pool: float, mint: float) -> None:
        self.world.pool_clock.now += pool
        self.world.mint_clock.now += mint

    @rule(turns=st.integers(0, 60))
    def pass_time(self, turns: int) -> None:
        self.run(_wait(turns))

    @rule(pick=st.integers(0, 1 << 16), times=st.integers(1, 3), others=st.booleans())
    def mint_tokens(self, pick: int, times: int, others: bool) -> None:
        """The same request several times at once, and another one for the same quote."""
        # What is drawn must not depend on what has arrived by now, so that a failure can be played again.
        if self.owner_of and self.world.mint:
            share_hash = sorted(self.owner_of)[pick % len(self.owner_of)]
            self.run(self._mint(share_hash, times, others))

    async def _mint(self, share_hash: bytes, times: int, others: bool) -> None:
        assert self.world.mint
        teller = self.world.mint.teller
        owner = self.owner_of[share_hash]
        name = quote_of(owner, SEED.quote_secret, share_hash)
        for _ in range(20):
            try:
                quote = await teller.quote(name)
                break
            except CashuError:
                await asyncio.sleep(0.001)
        else:
            return
        keyset = self.world.mint.keyset_of(quote.unit)
        first, other = (self.wallet.basket(keyset, quote.amount) for _ in range(2))
        baskets = [first] * times + [other] * others
        requests = [teller.mint(self.wallet.claim(owner, name, basket)) for basket in baskets]
        answers: list[Any] = await asyncio.gather(*requests, return_exceptions=True)
        if any(isinstance(answer, CommitFailed) for answer in answers):
            # The wallet asks again with the same bytes, as long as nobody answers.
            self.world.mint_faults.take()
            asked = self.wallet.claim(owner, name, first)
            answers += await asyncio.gather(teller.mint(asked), return_exceptions=True)
            baskets.append(first)
        self.tokens += _opened(baskets, answers)

    @rule(count=st.integers(1, 4), twice=st.booleans())
    def swap_tokens(self, count: int, twice: bool) -> None:
        """Spend some tokens, perhaps by two requests at once."""
        if self.tokens and self.world.mint:
            self.run(self._swap(self.tokens[:count], twice))

    async def _swap(self, proofs: list[Proof], twice: bool) -> None:
        assert self.world.mint
        teller = self.world.mint.teller
        keyset = self.world.mint.book.get(proofs[0].keyset_id)
        proofs = [proof for proof in proofs if proof.keyset_id == keyset.keyset_id]
        self.world.mint_faults.take()
        amount = sum(proof.amount for proof in proofs)
        baskets = [self.wallet.basket(keyset, amount) for _ in range(1 + twice)]
        inputs = [proof.to_json() for proof in proofs]
        requests = [teller.swap({"inputs": inputs, "outputs": basket.to_json()}) for basket in baskets]
        fresh = _opened(baskets, await asyncio.gather(*requests, return_exceptions=True))
        assert [proof.amount for proof in fresh] == list(split(amount))
        self.tokens = [proof for proof in self.tokens if proof not in proofs] + fresh

    @invariant()
    def nothing_is_refused(self) -> None:
        self.world.pool.check()
        assert not self.world.pool.listener.refused_rows

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.run(self._come_to_rest())
                self._check()
        finally:
            logging.disable(logging.NOTSET)
            self.loop.close()
            shutil.rmtree(self.directory)

    async def _come_to_rest(self) -> None:
        world = self.world
        world.pool_faults.take()
        world.mint_faults.take()
        world.lost_answers = world.lost_questions = 0
        # All clocks are right in the end, and no bound holds for ever.
        world.mint_clock.now = max(world.pool_clock.now, world.mint_clock.now) + 30 * DAY
        if world.mint is None:
            await world.start_mint()
        await self._hand_over()
        # Rows of a write that was told to have failed are known after a restart at the latest.
        await world.kill_pool()
        await world.start_pool()
        await self._hand_over()
        for share_hash in sorted(self.owner_of):
            await self._mint(share_hash, 1, others=False)
        if self.tokens:
            await self._swap(self.tokens[:4], twice=True)
        await world.kill_pool()
        await world.kill_mint()

    async def _hand_over(self) -> None:
        ledger = self.world.pool.ledger
        while ledger.metrics.acked._value.get() < ledger.last_seq:
            self.world.pool.check()
            await asyncio.sleep(0.001)

    def _check(self) -> None:
        findings = audit(self.directory, ("pool", "mint"), required=True)
        assert findings.ok, findings.detail()
        assert not findings.alarms
        with open_readonly(self.directory / "pool" / PoolStore.FILE) as store:
            rows = {row.share_hash: row for row in PoolStore(store).rows()}
            unattributed = {row[0] for row in store.execute("SELECT hash FROM unattributed")}
        # What was acknowledged stands where it belongs; what was not may stand there as well.
        assert self.unattributed <= unattributed
        assert all(rows[share_hash].key == KEYS[owner] for share_hash, owner in self.owner_of.items())
        with open_readonly(self.directory / "mint" / MintStore.FILE) as store:
            mint = MintStore(store)
            quotes = {quote.share_hash: quote for quote in mint.quotes()}
            totals = list(mint.keysets())
        assert quotes.keys() == rows.keys()
        assert all(quotes[share_hash].issued == rows[share_hash].amount for share_hash in self.owner_of)
        held = sum(keyset.signed - keyset.spent for keyset in totals)
        assert sum(proof.amount for proof in self.tokens) <= held
        assert sum(quote.issued for quote in quotes.values()) == held


def _entries(shares: list[Share]) -> tuple[list[Entry], list[int | None]]:
    """Those of the shares that are worth something, and whose they are."""
    made = [
        (entry(number, hashes, None if owner is None else KEYS[owner]), owner)
        for number, hashes, owner in shares
    ]
    return [each for each, _ in made if each.amount], [owner for each, owner in made if each.amount]


def _opened(baskets: list[Basket], answers: list[Any]) -> list[Proof]:
    """The tokens of those requests that were granted, all of which must be for the same basket."""
    granted: dict[int, list[Proof]] = {}
    for basket, answer in zip(baskets, answers, strict=True):
        if isinstance(answer, BaseException):
            assert isinstance(answer, CashuError | CommitFailed), answer
        else:
            granted[id(basket)] = basket.open(answer)
    assert len(granted) <= 1, "one credit is minted twice"
    return [proof for proofs in granted.values() for proof in proofs]


async def _wait(turns: int) -> None:
    if not turns:
        await asyncio.sleep(0.01)
    for _ in range(turns):
        await asyncio.sleep(0)


TestMoneyPath = pytest.mark.timeout(1800 if IS_LONG else 180)(MoneyPath.TestCase)
TestMoneyPath.settings = settings(
    max_examples=400 if IS_LONG else 30,
    stateful_step_count=60 if IS_LONG else 25,
    deadline=None,
    derandomize=True,
    # What threads do in between differs from run to run, so that an example is not made smaller for sure.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("life", range(LIVES))
def test_a_long_life_of_accidents_is_explained_by_the_audit(life: int) -> None:
    """The same steps, many in a row and most of them ordinary; hypothesis looks for short ways to break."""
    print(f"seed {SEED_OF_DICE}, life {life}: {STEPS} steps")
    dice = Random(f"{SEED_OF_DICE} {life}")
    path = MoneyPath()
    try:
        path.begin(bound=dice.choice(BOUNDS), window=dice.choice(WINDOWS))
        for _ in range(STEPS):
            _step(path, dice)
            path.nothing_is_refused()
    finally:
        path.teardown()


def _step(path: MoneyPath, dice: Random) -> None:
    """Whatever the dice say."""
    shares: list[Share] = [
        (dice.randrange(40), dice.choice(HASHES), dice.choice(OWNERS)) for _ in range(dice.randint(1, 5))
    ]
    pool, mint = ([dice.choice(FAULTS) for _ in range(dice.randint(0, 3))] for _ in range(2))
    pick, happens = dice.randrange(1 << 16), dice.random()
    match dice.choices(range(10), weights=[8, 2, 2, 2, 1, 1, 1, 8, 8, 4])[0]:
        case 0:
            path.submit(shares=shares, fault=dice.choice(("", "", "", *FAULTS)), times=1 + pick % 2)
        case 1:
            path.die_with_shares_under_way(shares=shares)
        case 2:
            path.fail_writes(pool=pool, mint=mint)
        case 3:
            path.lose_frames(answers=pick % 3, questions=pick // 3 % 3, cut=happens < 0.3)
        case 4:
            path.restart_the_pool()
        case 5:
            path.stop_or_start_the_mint()
        case 6:
            # The mint's clock gets ahead, so that most rows are not held.
            path.set_clocks(pool=dice.choice(JUMPS[:5]), mint=dice.choice((0.0, HOUR, DAY)))
        case 7:
            path.pass_time(turns=pick % 2 * 10)
        case 8:
            path.mint_tokens(pick=pick, times=1 + pick % 3, others=happens < 0.5)
        case _:
            path.swap_tokens(count=1 + pick % 4, twice=happens < 0.5)
