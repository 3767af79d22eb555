"""Through lanes miners and pools hear what they hear without, and the same is counted."""

import random
from dataclasses import replace

import pytest

from protocols.ehash.messages import EXTENSION, TLV_SHARE_KEY
from protocols.mining.lane import Relay
from protocols.sv2.codec import encode
from protocols.sv2.mining import (
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesSuccess,
)
from protocols.sv2.tlv import Tlv
from roles.proxy import downstream
from roles.proxy.lane_channel import LaneChannel
from roles.runtime.sv2_connection import Plain
from roles.stratum import mining_session
from tests.native_kernel import native_kernel
from tests.roles.proxy.lane_twins import BEGUN, Twin, job, mined, tip

MINERS = 4
STEPS = 60


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def relay() -> Relay:
    relay = native_kernel().relay
    if relay is None:
        pytest.skip("the processor has no SHA extensions")
    return relay


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(mining_session, "monotonic", clock)
    return clock


class Play:
    """What happens to both."""

    def __init__(self, relay: Relay, clock: Clock, seed: int, *, reads: bool) -> None:
        self.chance = random.Random(seed)
        self.clock = clock
        self.twins = Twin(relay, clock, reads=reads), Twin(None, clock)
        self.requests = self.ids = self.works = self.salts = 0
        self.previous = 1
        self.lent = 0
        self.sent: list[SubmitSharesExtended] = []

    async def begin(self, miners: int) -> None:
        for number in range(miners):
            for twin in self.twins:
                twin.begin(number)
        await self.open()

    async def open(self) -> None:
        """The upstream opens all channels, and gives each its work."""
        for twin in self.twins:
            await twin.told()
        wanted = len(self.twins[0].wanted)
        first = self.ids
        for number in range(1, wanted + 1):
            self.ids += 1
            for twin in self.twins:
                twin.open_above(number, 100 + self.ids, b"\xaa" + self.ids.to_bytes(3, "big"))
        self.works += 1
        for number in range(first + 1, self.ids + 1):
            for twin in self.twins:
                twin.hear_above(
                    job(self.works, 100 + number, min_ntime=None),
                    tip(self.works, 100 + number, self.previous),
                )
        await self.compare()

    async def compare(self) -> None:
        """Both have said the same."""
        native, python = [await twin.told() for twin in self.twins]
        assert native == python

    def books(self) -> None:
        """Both have counted and kept the same."""
        native, python = [twin.books() for twin in self.twins]
        assert native == python

    # What may happen

    def shares(self) -> None:
        """A batch of shares, most of them plain ones."""
        frames = [self._share() for _ in range(self.chance.randint(1, 8))]
        for twin in self.twins:
            twin.hear_below(*frames)
        self.lent += sum(
            isinstance(each, LaneChannel) and each._lane is not None and each._lane.is_lent
            for each in self.twins[0].channels
        )

    def _share(self) -> SubmitSharesExtended | Plain:
        channel = self.chance.choice(self.twins[1].channels)
        kind = self.chance.choice(
            ["good"] * 12 + ["past"] * 3 + ["again", "low", "early", "job", "channel", "key", "size"]
        )
        if kind == "again" and self.sent:
            return self.chance.choice(self.sent)
        self.salts += 1
        age = self.chance.choice([1, 1, 2, 3]) if kind == "past" else 0
        share = mined(channel, self.salts, self.salts, low=kind == "low", age=age)
        if kind == "early":
            return replace(share, ntime=BEGUN - 1)
        if kind == "job":
            return replace(share, job_id=9_999)
        if kind == "channel":
            return replace(share, channel_id=9_999)
        if kind == "size":
            return replace(share, extranonce=share.extranonce[1:])
        if kind == "key":
            frame = encode(share, [Tlv(EXTENSION, TLV_SHARE_KEY, b"\x02" * 33)])
            return frame.header(), frame.payload
        self.sent.append(share)
        return share

    def verdicts(self) -> None:
        """Answers to shares that wait, most of them good; a few that answer nothing."""
        answers: list[SubmitSharesSuccess | SubmitSharesError] = []
        for channel in self.twins[1].channels:
            numbers = list(channel.upstream.submissions._pending or ())
            if not numbers or self.chance.random() < 0.3:
                continue
            kind = self.chance.choice(["good"] * 8 + ["error", "more", "strange"])
            count = self.chance.randint(1, len(numbers))
            last, upstream = numbers[count - 1], channel.upstream.id
            if kind == "error":
                code = self.chance.choice(["stale-share", "no-verdict"])
                answers.append(SubmitSharesError(upstream, numbers[0], code))
            elif kind == "more":
                answers.append(SubmitSharesSuccess(upstream, last, count + 1, 1))
            elif kind == "strange":
                answers.append(SubmitSharesSuccess(9_999, 1, 1, 1))
            else:
                answers.append(SubmitSharesSuccess(upstream, last, count, 1))
        self.chance.shuffle(answers)
        for twin in self.twins:
            twin.hear_above(*answers)

    def work(self) -> None:
        """Another job for all, or another tip."""
        self.works += 1
        is_tip = self.chance.random() < 0.3
        self.previous += is_tip
        for twin in self.twins:
            for channel in twin.wanted:
                if is_tip:
                    twin.hear_above(
                        job(self.works, channel.id, min_ntime=None),
                        tip(self.works, channel.id, self.previous),
                    )
                else:
                    twin.hear_above(job(self.works, channel.id, min_ntime=BEGUN))

    def look(self) -> None:
        """Somebody reads a miner's books."""
        number = self.chance.randrange(len(self.twins[0].channels))
        accepted = {twin.channels[number].tally.accepted for twin in self.twins}
        assert len(accepted) == 1

    def watch(self) -> None:
        """A second's look at what waits."""
        for twin in self.twins:
            twin.session._watch()


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_both_say_and_count_the_same(
    relay: Relay, clock: Clock, monkeypatch: pytest.MonkeyPatch, seed: int, reads: bool
) -> None:
    monkeypatch.setattr(downstream, "CROWD", 2 if reads else 1_000)
    play = Play(relay, clock, seed, reads=reads)
    await play.begin(MINERS)
    acts = [play.shares] * 6 + [play.verdicts] * 5 + [play.work, play.look, play.watch]
    for step in range(STEPS):
        clock.now += play.chance.choice([0.01, 0.5, 4.0])
        play.chance.choice(acts)()
        await play.compare()
        if step % 20 == 19:
            play.books()
        if step == STEPS // 2:
            for twin in play.twins:
                twin.disconnect()
            await play.open()
    play.books()
    assert play.lent > 0
    assert play.twins[0].above.left_alone > 0
    assert (play.twins[0].below.inlet is not None) == reads
    assert (play.twins[0].below.handed_over > 0) == reads
    for twin in play.twins:
        twin.session.end()
        twin.above.end()
        twin.below.end()
