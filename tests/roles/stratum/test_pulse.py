"""Upstreams that fall silent, and how soon they are left."""

from protocols.sv2.layout import Message
from protocols.sv2.mining import CloseChannel, SetNewPrevHash, SetTarget, UpdateChannel, UpdateChannelError
from roles.stratum.mining_client import ClientTiming, Server
from roles.stratum.mining_session import SessionTiming
from roles.stratum.mining_setup import ClientIdentity
from roles.stratum.pulse import NOBODY, Habits, Pulse
from roles.stratum.submissions import LOST, Verdict
from tests.roles.stratum.mining_bench import Bench, Eventually, Leap, Owner, Upstream, submit

SECOND = ClientIdentity("127.0.0.1", 34255, device="test")
TIP = SetNewPrevHash(5, 1, bytes(32), 0, 0)
ANSWER = UpdateChannelError(NOBODY, "invalid-channel-id")


def timing(*, stall: float = 60.0, work: float = 60.0) -> ClientTiming:
    session = SessionTiming(watch=0.01, stall=stall, work=work)
    return ClientTiming(failback=None, setup=5.0, session=session)


def beside(upstream: Upstream) -> tuple[Upstream, Server]:
    """Another upstream, and as a server."""
    other: Upstream = type(upstream)()
    return other, Server(other.dial, SECOND, "second")


async def mined_at(upstream: Upstream, *messages: Message) -> Upstream:
    """The client's next connection, with a channel open."""
    connection = await upstream.accept()
    connection.hears_questions = True
    await connection.greet()
    await connection.grant(5, *messages)
    return connection


def test_who_answers_is_asked_again_only_after_a_silence_and_is_gone_after_another() -> None:
    habits = Habits()
    pulse = Pulse(habits, 3.0, 100.0)
    assert pulse.asks(100.0)
    assert not pulse.asks(110.0)
    assert not pulse.is_gone(110.0)
    pulse.heard(110.0)
    pulse.answered()
    assert not pulse.asks(112.9)
    assert pulse.asks(113.0)
    assert not pulse.is_gone(115.9)
    assert pulse.is_gone(116.0)
    pulse.heard(116.0)
    assert not pulse.is_gone(120.0)
    pulse.end()
    assert habits.answers


def test_who_was_left_with_the_first_question_open_is_asked_no_more() -> None:
    habits = Habits()
    pulse = Pulse(habits, 3.0, 100.0)
    pulse.end()
    first = habits.answers
    assert first is None
    assert pulse.asks(100.0)
    pulse.end()
    assert habits.answers is False
    assert not Pulse(habits, 3.0, 200.0).asks(300.0)


async def test_an_upstream_that_answers_questions_and_then_says_nothing_is_left(
    upstream: Upstream,
) -> None:
    bench = Bench(upstream, timing=timing(stall=0.05))
    bench.client.open(Owner())
    async with bench.running():
        connection = await mined_at(upstream, TIP)
        for _ in range(2):
            assert (await connection.expect(UpdateChannel)).channel_id == NOBODY
            connection.say(ANSWER)
        await connection.expect(UpdateChannel)
        await upstream.accept()
        assert bench.client.failure == "the upstream does not answer any more"
        assert bench.count("messages_ignored_total") == 0


async def test_an_upstream_that_answers_no_question_is_kept(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench = Bench(upstream, timing=timing(stall=0.02))
    owner = Owner()
    bench.client.open(owner)
    async with bench.running():
        connection = await mined_at(upstream, TIP)
        await connection.expect(UpdateChannel)
        for number in range(8):
            connection.say(SetTarget(5, number))
        await eventually(lambda: SetTarget(5, 7) in owner.heard)
        await connection.expect_silence()
        connection.hang_up()
        again = await mined_at(upstream, TIP)
        again.say(SetTarget(5, 99))
        await eventually(lambda: SetTarget(5, 99) in owner.heard)
        await again.expect_silence()


async def test_an_upstream_that_speaks_but_answers_no_share_is_left_for_another(
    upstream: Upstream, eventually: Eventually
) -> None:
    other, second = beside(upstream)
    bench = Bench(upstream, second, timing=timing(stall=0.05))
    channel = bench.client.open(Owner())
    async with bench.running():
        await mined_at(upstream, TIP)
        await eventually(lambda: channel.is_open)
        verdicts: list[Verdict] = []
        submit(channel, verdicts)
        await mined_at(other, TIP)
        assert verdicts == [LOST]
        assert "does not answer shares" in bench.client.upstreams[0].failure


async def test_an_upstream_that_gives_no_work_is_left_for_another(upstream: Upstream) -> None:
    other, second = beside(upstream)
    bench = Bench(upstream, second, timing=timing(work=0.05))
    bench.client.open(Owner())
    async with bench.running():
        await mined_at(upstream)
        await mined_at(other, TIP)
        assert "gives no work" in bench.client.upstreams[0].failure


async def test_an_upstream_that_gives_no_work_is_kept_while_it_is_the_only_one(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench = Bench(upstream, timing=timing(work=0.0))
    owner = Owner()
    bench.client.open(owner)
    async with bench.running():
        connection = await mined_at(upstream)
        await connection.expect(UpdateChannel)
        connection.say(ANSWER, TIP)
        await eventually(lambda: TIP in owner.heard)


async def test_a_better_one_that_gives_no_work_gives_the_channels_back(
    upstream: Upstream, eventually: Eventually, leap: Leap
) -> None:
    upstream.is_down = True
    other, second = beside(upstream)
    session = SessionTiming(watch=0.01)
    patient = ClientTiming(failback=0.0, check=0.01, trial=5.0, session=session)
    bench = Bench(upstream, second, timing=patient)
    owner = Owner()
    bench.client.open(owner)
    async with bench.running():
        old = await mined_at(other, TIP)
        upstream.is_down = False
        await mined_at(upstream)
        old.hears_questions = False
        while (await old.from_client.get()).msg_type != CloseChannel.msg_type:
            pass
        leap(5.0)
        await old.grant(6, TIP)
        await eventually(lambda: bench.count("failures_total", cause="UpstreamUnusable") >= 1)
        assert bench.client.upstream == "second"
