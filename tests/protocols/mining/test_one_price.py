"""One piece of work has one price, and an expected hash earns its share of a unit whatever a miner does."""

import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.target import MAX_TARGET, from_work, work
from protocols.ehash.amount import price_of, share_amount
from protocols.mining.channel import Channel, ExtendedChannel, StandardChannel
from protocols.mining.credit_target import CreditRule
from protocols.mining.errors import ShareRefused
from protocols.mining.extranonce import PrefixAllocator
from protocols.mining.group import Group
from protocols.mining.job import Job, Template, Tip, Work, build_work
from protocols.mining.share import Verdict
from protocols.sv2.mining import NewExtendedMiningJob, SubmitSharesExtended

LONG = bool(os.environ.get("HASHPOOL_TEST_LONG"))
NOW = 1_700_000_000
REWARD_VALUE = 5_000_000_000
AnyChannel = StandardChannel | ExtendedChannel
Space = tuple[bytes, ...]


class Pool:
    """What a pool does with its channels: templates, tips, targets, openings and closings.

    Connections are by turns grouped, so that work goes to the group, and not.
    """

    def __init__(self, make_template: Callable[..., Template], make_tip: Callable[..., Tip]) -> None:
        self.make_template, self.make_tip = make_template, make_tip
        self.prefixes = PrefixAllocator(1, position=0, tip_position=0, reserved=1 << 30)
        self.connections = [Group() for _ in range(3)]
        self.channels: list[AnyChannel] = []
        self.template = make_template(1)
        self.tip = make_tip(1)
        self.jobs: list[tuple[AnyChannel, Job]] = []
        self.targets: dict[AnyChannel, list[tuple[int, int]]] = {}
        """Those of each channel, with the revision from which on."""
        self.resumed: list[tuple[AnyChannel, Job]] = []
        self.next_id = 2

    def is_grouped(self, connection: Group) -> bool:
        return connection is not self.connections[0]

    def work(self, revision: int) -> Work:
        from protocols.bitcoin.transaction import TxOut

        return build_work(self.template, [TxOut(REWARD_VALUE, b"\x51")], pool="t", revision=revision)

    def note(self, channel: AnyChannel) -> None:
        assert channel.jobs.active
        self.jobs.append((channel, channel.jobs.active))

    def open(self, kind: type[StandardChannel] | type[ExtendedChannel], target: int, which: int = 0) -> None:
        group = self.connections[which % len(self.connections)]
        channel = kind(self.next_id, self.prefixes.grant(), target=target, max_target=MAX_TARGET, group=group)
        self.next_id += 1
        self.channels.append(channel)
        channel.begin(self.work(channel.revision), self.tip)
        if self.is_grouped(group):
            group.join(channel)
        self.note(channel)
        self.targets[channel] = [(channel.since, target)]

    def resume(self, index: int, which: int) -> None:
        """A miner takes its channel to another connection; not all that it had is recorded."""
        old, group = self.channels[index], self.connections[which % len(self.connections)]
        new = type(old)(self.next_id, old.prefix, target=1, max_target=MAX_TARGET, group=group)
        self.next_id += 1
        old.group.leave(old)
        known = {job.job_id: job for channel, job in self.jobs + self.resumed if channel is old}
        live = [job for job in known.values() if job.tip is self.tip][-3:]
        if not new.resume(self.targets[old][-2:], live, max(known)):
            self.close(index)
            return
        self.channels[index] = new
        self.targets[new] = self.targets.pop(old)[-2:]
        for job in live:
            with contextlib.suppress(ShareRefused):
                assert new.find(job.job_id).target == job.target
                self.resumed.append((new, job))
        new.go_on(self.work(new.revision), self.tip)
        self.note(new)

    def close(self, index: int) -> None:
        channel = self.channels.pop(index)
        channel.group.leave(channel)
        self.prefixes.release(channel.prefix)

    def retarget(self, index: int, target: int) -> None:
        channel = self.channels[index]
        channel.retarget(target)
        self.targets[channel] = [each for each in self.targets[channel] if each[0] != channel.since]
        self.targets[channel].append((channel.since, target))
        channel.follow(self.work(channel.revision))
        self.note(channel)

    def new_template(self, number: int) -> None:
        self.template = self.make_template(number)
        self._send(lambda group, work: group.follow(work, self.tip), lambda each, work: each.follow(work))

    def new_tip(self, number: int) -> None:
        self.tip = self.make_tip(number)
        self.prefixes.new_tip()
        self._send(
            lambda group, work: group.begin(work, self.tip)[0], lambda each, work: each.begin(work, self.tip)
        )

    def _send(
        self,
        to_group: Callable[[Group, Work], NewExtendedMiningJob],
        to_channel: Callable[[AnyChannel, Work], object],
    ) -> None:
        for group in self.connections:
            members = [each for each in self.channels if each.group is group]
            if self.is_grouped(group):
                sent = to_group(group, self.work(group.revision))
                self.jobs += [(each, each.find(sent.job_id)) for each in members]
                assert all(each.find(sent.job_id).work.revision == group.revision for each in members)
                continue
            for each in members:
                to_channel(each, self.work(each.revision))
                self.note(each)


def header_space(channel: Channel, job: Job) -> Space:
    """What a header can be made of whatever version and time: nothing else tells two jobs apart."""
    return (job.tip.previous, job.work.prefix, channel.prefix, job.work.suffix, *job.work.merkle_path)


events = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 3), st.integers(0, 7)), min_size=1, max_size=40
)


@given(events)
@settings(max_examples=100, deadline=None)
def test_a_header_space_has_one_target_whatever_job_channel_or_connection(
    actions: list[tuple[int, int, int]],
) -> None:
    from protocols.bitcoin.coinbase import CoinbaseTemplate

    def make_template(number: int) -> Template:
        return Template(
            number, 0x20000000, CoinbaseTemplate(2, b"\x01\x70", 0, REWARD_VALUE, 0, b"", number), ()
        )

    def make_tip(number: int) -> Tip:
        return Tip(bytes((number,)) * 32, NOW, 0x207FFFFF, from_work(1 << 30), NOW)

    pool = Pool(make_template, make_tip)
    for action, which, value in actions:
        index = which % len(pool.channels) if pool.channels else 0
        if action <= 1 or not pool.channels:
            pool.open((StandardChannel, ExtendedChannel)[which % 2], from_work(1 << value), value)
        elif action == 2:
            pool.close(index)
        elif action <= 6:
            pool.retarget(index, from_work(1 << value))
        elif action <= 8:
            # The same few templates come again, as from a template provider that has restarted.
            pool.new_template(which)
        elif action <= 10:
            pool.resume(index, value)
        else:
            pool.new_tip(pool.tip.previous[0] % 250 + 1)
        # What a channel does not know any more has no price at all.
        for channel, job in pool.jobs + pool.resumed:
            with contextlib.suppress(ShareRefused):
                known = channel.find(job.job_id)
                assert (known.target, known.work) == (job.target, job.work)
    prices: dict[Space, int] = {}
    for channel, job in pool.jobs:
        assert prices.setdefault(header_space(channel, job), job.target) == job.target
    for group in pool.connections:
        sent = {(job.job_id, id(job.work)) for channel, job in pool.jobs if channel.group is group}
        assert len({job_id for job_id, _ in sent}) == len(sent)


class Adversary:
    """Hashes once, looks, and offers the header to every live job of its channel, the hardest first.

    What no job takes is kept and offered again after each new target. A header is one hash, however often it
    is offered; the same fields under work that differs are another header, hence another hash.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.hashed: dict[tuple[Space, int], int] = {}
        self.earned: dict[bytes, int] = {}
        self.kept: list[SubmitSharesExtended] = []

    def work_on(self, channel: ExtendedChannel, jobs: list[Job]) -> None:
        fields = (channel.channel_id, 0, 0, self.chance.getrandbits(32), NOW, 0x20000000)
        self.offer(channel, jobs, SubmitSharesExtended(*fields, bytes(16)))

    def offer(self, channel: ExtendedChannel, jobs: list[Job], share: SubmitSharesExtended) -> None:
        for job in sorted(jobs, key=lambda job: job.target):
            self.hashed.setdefault((header_space(channel, job), share.nonce), work(job.target))
            try:
                verdict: Verdict = channel.judge(replace(share, job_id=job.job_id), None, NOW)
            except ShareRefused:
                continue
            amount = share_amount(verdict.share_hash, job.target, 2)
            self.earned.setdefault(verdict.share_hash, amount << 2)
            return
        self.kept = [*self.kept[-30:], share]

    def offer_kept(self, channel: ExtendedChannel, jobs: list[Job]) -> None:
        kept, self.kept = self.kept, []
        for share in kept:
            self.offer(channel, jobs, share)

    @property
    def gain(self) -> float:
        """Credited hashes for each hash."""
        return sum(self.earned.values()) / len(self.hashed)

    @property
    def deviation(self) -> float:
        return float(sum(price - 1 for price in self.hashed.values()) ** 0.5 / len(self.hashed))


def attack(pool: Pool, seed: int, rounds: int, *, differing: bool, grouped: bool = False) -> Adversary:
    """Retarget one channel again and again; without `differing` the work stays the same under each target."""
    adversary = Adversary(random.Random(seed))
    pool.open(ExtendedChannel, from_work(128), int(grouped))
    channel = pool.channels[0]
    assert isinstance(channel, ExtendedChannel)
    for number in range(rounds):
        target = from_work(2 if number % 2 else 128)
        if differing:
            pool.retarget(0, target)
        else:
            channel.retarget(target)
            channel.follow(replace(pool.work(0), revision=channel.revision))
            pool.note(channel)
        if number % 3 == 2 and differing:
            pool.new_template(number % 4)
        if number % 10 == 9:
            pool.new_tip(number // 10 % 250 + 2)
            adversary.kept.clear()
        live = [job for _, job in pool.jobs[-3:] if job.tip is pool.tip]
        adversary.offer_kept(channel, live)
        for _ in range(40):
            adversary.work_on(channel, live)
    return adversary


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in a group"])
def test_an_adversary_who_sees_the_hash_chooses_the_job_and_waits_gains_nothing(
    make_template: Callable[..., Template], make_tip: Callable[..., Tip], grouped: bool
) -> None:
    seed = int(os.environ.get("HASHPOOL_TEST_SEED", "20240917"))
    print(f"seed {seed}")
    adversary = attack(
        Pool(make_template, make_tip), seed, 4000 if LONG else 200, differing=True, grouped=grouped
    )
    assert adversary.deviation < (0.03 if LONG else 0.1)
    assert adversary.gain == pytest.approx(1, abs=4 * adversary.deviation)


def test_the_same_adversary_does_gain_where_work_stays_the_same_under_another_target(
    make_template: Callable[..., Template], make_tip: Callable[..., Tip]
) -> None:
    """The attack is real: this is what the revision in the coinbase prevents."""
    adversary = attack(Pool(make_template, make_tip), 1, 200, differing=False)
    assert adversary.gain > 1.5


def test_ehash_per_expected_hash_is_one_at_changing_difficulty() -> None:
    """Hash bits are sampled, because the amount depends on nothing else; the work of a share changes by
    vardiff.
    """
    seed = int(os.environ.get("HASHPOOL_TEST_SEED", "20240918"))
    shares, tolerance = (10_000_000, 0.001) if LONG else (200_000, 0.005)
    print(f"seed {seed}, {shares} shares")
    chance = random.Random(seed)
    minimum = 32
    rule = CreditRule(minimum)
    network = from_work(1 << 79)
    units, expected, done = 0, 0, 0
    while done < shares:
        wanted = int(2 ** chance.uniform(30, 42))
        target = rule.target(wanted, network=network, max_target=MAX_TARGET)
        price = price_of(target, minimum)
        batch = min(shares - done, 1 + chance.randrange(100))
        bits = chance.randbytes(8 * batch)
        units += batch * price.whole
        if price.threshold:
            units += sum(
                int.from_bytes(bits[at : at + 8], "little") < price.threshold for at in range(0, 8 * batch, 8)
            )
        expected += batch * work(target)
        done += batch
    assert (units << minimum) / expected == pytest.approx(1, abs=tolerance)


def test_hashes_really_drawn_earn_one_unit_for_each_unit_of_expected_work() -> None:
    """Below 16 units the fraction is rounded by the hash itself: checked on hashes that met the target."""
    seed = int(os.environ.get("HASHPOOL_TEST_SEED", "20240919"))
    print(f"seed {seed}")
    chance = random.Random(seed)
    for hashes in (1, 3, 5, 11, 23, 51):
        target = from_work(hashes)
        count = 4000
        total = 0
        for _ in range(count):
            number = chance.randrange(target + 1)
            total += share_amount(number.to_bytes(32, "little"), target, 4)
        mean = hashes / 16
        deviation = (mean % 1 * (1 - mean % 1) / count) ** 0.5
        assert total / count == pytest.approx(mean, abs=4 * deviation + 1e-12)
