"""Shares through both instances of sv1_proxy at a pool that answers as it likes and is lost three times.

The pool is a fake: it hashes for itself, and says yes, no in four forms, nothing, or something later.
"""

import asyncio
import json
import os
import struct
from collections import Counter
from collections.abc import AsyncIterator
from fractions import Fraction
from random import Random
from typing import Any, Final

import pytest

from protocols.bitcoin.hashing import sha256d
from roles.cli.auditing.sides import audit
from roles.cli.stores import WalletStore
from roles.runtime.storage import open_readonly
from tests.functional.development import Development
from tests.functional.miner_profiles import PROFILES
from tests.functional.processes import Daemon, Site
from tests.functional.scripted_miner import ScriptedMiner
from tests.roles.stratum.fake_pool import FakePool, Peer, Share
from tests.roles.translator.fake_miners import Job

LONG: Final = os.environ.get("HASHPOOL_TEST_LONG") == "1"
SHARES: Final = 10_000 if LONG else 400
MINERS: Final = 8
AT_ONCE: Final = 4
"""Shares of a miner that wait for their answers."""
BOUND_S: Final = 60.0
SEED: Final = 20_261_122

pytestmark = [pytest.mark.functional, pytest.mark.timeout(900 if LONG else 180)]

# Shares are of 16 hashes and more, and every fourth or so is one for the pool.
UNIT: Final = {"shared__ehash__minimum_difficulty": "0"}
SHIFTS: Final = {"shared__regtest__block_difficulty": str(1 << 40)}


class Moody(FakePool):
    """A pool whose verdicts are drawn; `said` is what it has answered by the hash that it judged."""

    def __init__(self, random: Random) -> None:
        super().__init__(difficulty=Fraction(1, 1 << 26))
        self.random = random
        self.verdict = self.draw
        self.said: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._held: list[tuple[Peer, Share, bool]] = []

    def draw(self, peer: Peer, share: Share) -> None:
        if share.fault:
            self.faults[share.fault] += 1
        chance = self.random.random()
        if chance < 0.1:
            self.said["nothing"] += 1
        elif chance < 0.25:
            self.said["late"] += 1
            self._held.append((peer, share, self.random.random() < 0.5))
        else:
            self.say(peer, share, is_good=chance < 0.8)
        if self._held and self.random.random() < 0.5:
            self.say(*self._held.pop(self.random.randrange(len(self._held))))

    def say(self, peer: Peer, share: Share, is_good: bool) -> None:
        self.said["yes" if is_good else "no"] += 1
        if is_good:
            peer.answer(share.id, True)
            return
        forms = (
            {"result": None, "error": "Stale"},
            {"result": None, "error": {"code": 21, "message": "Stale"}},
            {"result": None, "error": [21, "Stale", None]},
            {"result": False, "error": None, "reject-reason": "Stale"},
        )
        peer.line(json.dumps({"id": share.id} | self.random.choice(forms)).encode())


class Chain:
    """The pool, both instances and the mint, and miners; it keeps what each share was answered."""

    def __init__(self, site: Site, pool: Moody, policy: str) -> None:
        self.site, self.pool = site, pool
        development = Development(site, sv1=True)
        account = f'[{{address = "{pool.address}", name = "moody", user = "us"}}]'
        self.mint = development.daemon("mint", **UNIT, **SHIFTS)
        self.issuing = development.daemon(
            "sv1_proxy_pool",
            credit=policy,
            start_difficulty="6e-8",
            verdict_s="1",
            vardiff__shares_per_minute="6000",
            vardiff__floor_hashes="16",
            upstream__answer_s="2",
            pools=account,
            **UNIT,
            **SHIFTS,
        )
        self.issuing.settings.pop("pools.0.address")
        self.home = development.daemon(
            "sv1_proxy_miner",
            start_difficulty="6e-8",
            shown_shares_per_minute="0",
            verdict_s="4",
            wallet__recovery_s="2",
            wallet__batch_delay_ms="50",
            news_s="0.5",
        )
        self.development = development
        self.miners: list[ScriptedMiner] = []
        self.answers: dict[bytes, str] = {}
        self.submitted = 0

    async def start(self) -> None:
        await self.development.start()
        profile = next(each for each in PROFILES if each.name == "cgminer")
        for number in range(MINERS):
            miner = ScriptedMiner(profile)
            miner.user = f"rig{number}"
            await miner.connect(int(self.home.settings["listen_address"].rpartition(":")[2]))
            self.miners.append(miner)
            await miner.start()

    async def mine(self, shares: int) -> None:
        """All miners together hand in so many shares, some of them at once."""
        goal = self.submitted + shares
        for miner in self.miners:
            assert not miner.is_gone

        async def work(miner: ScriptedMiner) -> None:
            while self.submitted < goal:
                self.submitted += 1
                job = await miner.job()
                params = miner.search(job)
                share_hash = hash_of(miner, job, params)
                reply = await miner.hand_in(params)
                assert share_hash not in self.answers
                self.answers[share_hash] = "yes" if reply["result"] is True else reply["error"][1]
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for miner in self.miners:
                for _ in range(AT_ONCE):
                    group.create_task(work(miner))

    def ledger(self) -> dict[bytes, Any]:
        with open_readonly(self.issuing.state / "ledger.sqlite") as store:
            return {row["share_hash"]: row for row in store.execute("SELECT * FROM audit_share")}

    def forwarded(self) -> dict[bytes, str]:
        """What the store of the issuer has of the pool's word, by share hash."""
        with open_readonly(self.issuing.state / "ledger.sqlite") as store:
            return {row["hash"]: row["outcome"] for row in store.execute("SELECT * FROM upstream_share")}

    def tokens(self) -> int:
        with open_readonly(self.home.state / WalletStore.FILE) as store:
            return WalletStore(store).balance()[0]

    async def judged(self) -> None:
        """Wait until the pool has answered what it was sent, or has been given up."""
        async for _ in self.issuing.polls("all shares to be judged"):
            _, metrics = await self.issuing.health("/metrics")
            if "\nhashpool_upstream_pending_shares 0.0\n" in metrics:
                return

    async def settled(self) -> None:
        """Wait until all that was credited is in the wallet."""
        due = sum(row["amount"] for row in self.ledger().values())
        async with asyncio.timeout(BOUND_S):
            while self.tokens() < due:
                await asyncio.sleep(0.1)
        assert self.tokens() == due

    async def close(self) -> None:
        for miner in self.miners:
            await miner.close()


def hash_of(miner: ScriptedMiner, job: Job, params: list[Any]) -> bytes:
    """The hash of a share by what its miner knows."""
    _, _, extranonce2, ntime, nonce, *bits = params
    _, previous, coinbase1, coinbase2, branches, version, nbits, _, _ = job.params
    coinbase = bytes.fromhex(coinbase1) + miner.extranonce1 + bytes.fromhex(extranonce2 + coinbase2)
    root = sha256d(coinbase)
    for branch in branches:
        root = sha256d(root + bytes.fromhex(branch))
    words = bytes.fromhex(previous)
    tip = b"".join(words[place : place + 4][::-1] for place in range(0, 32, 4))
    rolled = int(version, 16) | (int(bits[0], 16) if bits else 0)
    numbers = int(ntime, 16), int(nbits, 16), int(nonce, 16)
    return sha256d(struct.pack("<I32s32sIII", rolled, tip, root, *numbers))


@pytest.fixture(params=["local", "upstream-verdict"])
async def chain(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[Chain]:
    print(f"seed {SEED}")
    pool = Moody(Random(SEED))
    await pool.open()
    made = Chain(site, pool, request.param)
    try:
        await made.start()
        yield made
    finally:
        await made.close()
        pool.close()


async def test_every_share_is_accounted_for_and_none_twice(chain: Chain) -> None:
    part = SHARES // 4
    await chain.mine(part)
    await lose(chain)
    await chain.mine(part)
    await restart(chain.issuing)
    await chain.mine(part)
    await lose(chain)
    await chain.mine(SHARES - 3 * part)
    await chain.judged()
    await chain.settled()
    print(chain.submitted, Counter(chain.answers.values()), chain.pool.said, chain.pool.faults)

    assert not any(miner.is_gone for miner in chain.miners)
    assert not any(miner.faults for miner in chain.miners), [miner.faults for miner in chain.miners]
    assert chain.submitted == len(chain.answers) >= SHARES
    assert set(chain.answers.values()) <= {"yes", "Stale", "No verdict from pool"}
    # The pool has found nothing wrong with what it was sent but that its work had gone with a connection.
    assert set(chain.pool.faults) <= {"no job"}
    assert min(chain.pool.said[word] for word in ("yes", "no", "nothing", "late")) > 0

    ledger, forwarded = chain.ledger(), chain.forwarded()
    yes = {each for each, answer in chain.answers.items() if answer == "yes"}
    stale = {each for each, answer in chain.answers.items() if answer == "Stale"}
    assert len(yes) > SHARES // 2
    # What a miner was told is accepted is credited, what it was told is not, is not.
    assert yes <= set(ledger)
    assert not stale & set(ledger)
    assert set(ledger) <= set(chain.answers)
    for share_hash, outcome in forwarded.items():
        if chain.issuing.settings["credit"] == "upstream-verdict":
            assert (share_hash in ledger) is (outcome == "accepted")
    findings = audit(chain.site.state, required=True)
    assert findings.ok, (findings.detail(), findings.examples)


async def lose(chain: Chain) -> None:
    """Cut the pool's connection, and wait until the miners have work of the next one."""
    jobs = [miner.jobs[-1] for miner in chain.miners]
    chain.pool.last.close()
    for miner, job in zip(chain.miners, jobs, strict=True):
        await miner.moved_on(job)


async def restart(daemon: Daemon) -> None:
    """Kill the issuer, as the power would, and start it again."""
    daemon.kill()
    daemon.start()
    await daemon.ready()
