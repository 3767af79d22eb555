import pytest

from protocols.ehash.messages import EXTENSION, QuoteNotice
from protocols.sv2.connection import SetupConnection, SetupConnectionError, SetupConnectionSuccess
from protocols.sv2.extensions import RequestExtensions, RequestExtensionsError
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetExtranoncePrefix,
    SetGroupChannel,
    SetTarget,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
    UpdateChannel,
)
from roles.stratum.errors import ChannelNotOpen
from roles.stratum.mining_client import GRANT_CHANCES
from roles.stratum.submissions import ACCEPTED, LOST, Outcome, Verdict
from roles.stratum.upstream_channel import OpenTerms
from tests.roles.stratum.mining_bench import (
    EXTENSIONS_S,
    KEY,
    Bench,
    Eventually,
    Leap,
    Owner,
    Upstream,
    short,
    submit,
    success,
)


async def test_setup_says_who_we_are_and_a_channel_is_opened_on_the_owners_terms(upstream: Upstream) -> None:
    bench = Bench(upstream)
    owner = Owner()
    channel = bench.client.open(owner)
    async with bench.running():
        connection = await upstream.accept()
        setup = await connection.greet()
        assert (setup.protocol, setup.min_version, setup.max_version) == (0, 2, 2)
        assert (setup.vendor, setup.hardware_version, setup.endpoint_port) == ("hashpool", "test", 34254)
        target = SetTarget(5, 99)
        request = await connection.grant(5, target, prefix=b"\xaa" * 8)
        assert (request.user_identity, request.min_extranonce_size) == ("alice.rig", 12)
        await connection.expect_silence()
        assert channel.is_open
        assert (channel.id, channel.extranonce_prefix, channel.extranonce_size) == (5, b"\xaa" * 8, 12)
        assert channel.target == 99
        assert owner.heard == [("opened", ()), target]
        assert bench.changes == [True]
        assert bench.count("connected") == bench.count("channels") == 1


async def test_shares_carry_rising_numbers_and_each_gets_the_upstreams_own_verdict(
    upstream: Upstream,
) -> None:
    bench = Bench(upstream)
    channel = bench.client.open(Owner())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        await connection.expect_silence()
        verdicts: list[list[Verdict]] = [[], [], []]
        assert [submit(channel, told) for told in verdicts] == [1, 2, 3]
        for sequence in (1, 2, 3):
            share = await connection.expect(SubmitSharesExtended)
            assert share == SubmitSharesExtended(5, sequence, 7, 1, 2, 3, bytes(12))
        connection.say(SubmitSharesError(5, 2, "stale-share"), SubmitSharesSuccess(5, 3, 2, 10))
        await connection.expect_silence()
        assert verdicts == [[ACCEPTED], [Verdict(Outcome.REFUSED, "stale-share")], [ACCEPTED]]
        assert bench.count("verdict_mismatches_total") == 0
        connection.say(SubmitSharesSuccess(5, 9, 1, 1), SubmitSharesError(5, 3, "x"))
        await connection.expect_silence()
        assert bench.count("verdict_mismatches_total") == 2


async def test_a_lost_connection_loses_open_shares_and_the_channel_opens_again(
    upstream: Upstream, eventually: Eventually
) -> None:
    bench = Bench(upstream)
    owner = Owner()
    channel = bench.client.open(owner)
    async with bench.running():
        first = await upstream.accept()
        await first.greet()
        await first.grant(5)
        await first.expect_silence()
        verdicts: list[Verdict] = []
        submit(channel, verdicts)
        first.hang_up()
        await eventually(lambda: verdicts == [LOST])
        assert not channel.is_open
        with pytest.raises(ChannelNotOpen):
            submit(channel, [])
        second = await upstream.accept()
        await second.greet()
        await second.grant(9, prefix=b"\xbb" * 4)
        await second.expect_silence()
        assert submit(channel, []) == 1
        assert (await second.expect(SubmitSharesExtended)).channel_id == 9
        assert [entry[0] for entry in owner.heard if isinstance(entry, tuple)] == ["opened", "lost", "opened"]
        assert bench.changes == [True, False, True]
        assert bench.count("failures_total", cause="ConnectionLost") == 1


async def test_an_upstream_that_is_down_is_tried_again_until_it_is_up(
    upstream: Upstream, eventually: Eventually
) -> None:
    upstream.is_down = True
    bench = Bench(upstream)
    async with bench.running():
        await eventually(lambda: bench.count("failures_total", cause="ConnectionRefusedError") >= 3)
        assert bench.client.failure == "down"
        assert set(bench.changes) == {False}
        upstream.is_down = False
        await (await upstream.accept()).greet()
        await eventually(lambda: bench.client.is_connected)


async def test_extensions_are_asked_for_and_the_owner_learns_what_was_granted(upstream: Upstream) -> None:
    bench = Bench(upstream, extensions=(EXTENSION, 0x0002), insist=False)
    owner = Owner(OpenTerms("a", 1.0, 1 << 255, 12, (KEY,)))
    bench.client.open(owner)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet(extensions=(EXTENSION,))
        await connection.grant(5, QuoteNotice(5, bytes(32), 3, "hash_x_0"))
        assert connection.tlvs == (KEY,)
        await connection.expect_silence()
        assert owner.granted == [frozenset({EXTENSION})]
        assert bench.client.extensions == {EXTENSION}
        assert owner.heard[-1] == QuoteNotice(5, bytes(32), 3, "hash_x_0")


async def test_a_server_that_ignores_extensions_is_used_without(upstream: Upstream) -> None:
    bench = Bench(upstream, extensions=(EXTENSION,), timing=short(extensions=0.02))
    owner = Owner()
    bench.client.open(owner)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.expect(RequestExtensions)
        await connection.grant(5)
        assert owner.granted == [frozenset()]


async def test_a_server_that_hangs_up_on_extensions_is_used_without(upstream: Upstream) -> None:
    bench = Bench(upstream, extensions=(EXTENSION,))
    bench.client.open(Owner())
    async with bench.running():
        first = await upstream.accept()
        await first.greet()
        await first.expect(RequestExtensions)
        first.hang_up()
        second = await upstream.accept()
        await second.greet()
        await second.grant(5)


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_what_an_upstream_granted_before_is_not_given_up_for_one_bad_connection(
    upstream: Upstream, hangs_up: bool, leap: Leap
) -> None:
    bench = Bench(upstream, extensions=(EXTENSION,), timing=short())
    owner = Owner()
    bench.client.open(owner)
    async with bench.running():
        first = await upstream.accept()
        await first.greet(extensions=(EXTENSION,))
        await first.grant(5)
        first.hang_up()
        for _ in range(GRANT_CHANCES - 1):
            later = await upstream.accept()
            await later.greet()
            await later.expect(RequestExtensions)
            later.hang_up() if hangs_up else leap(EXTENSIONS_S)
        again = await upstream.accept()
        await again.greet(extensions=(EXTENSION,))
        await again.grant(6)
        assert owner.granted == [frozenset({EXTENSION})] * 2


async def test_an_upstream_that_no_longer_knows_an_extension_is_used_without_in_the_end(
    upstream: Upstream,
) -> None:
    bench = Bench(upstream, extensions=(EXTENSION,), timing=short())
    owner = Owner()
    bench.client.open(owner)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet(extensions=(EXTENSION,))
        await connection.grant(5)
        connection.hang_up()
        for _ in range(GRANT_CHANCES + 1):
            connection = await upstream.accept()
            await connection.greet()
            request = await connection.expect(RequestExtensions)
            connection.say(RequestExtensionsError(request.request_id, (EXTENSION,), ()))
        await connection.grant(5)
        assert owner.granted == [frozenset({EXTENSION}), frozenset()]


async def test_who_insists_on_an_extension_does_not_mine_without_it(
    upstream: Upstream, eventually: Eventually, leap: Leap
) -> None:
    bench = Bench(upstream, extensions=(EXTENSION,), insist=True, timing=short())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.expect(RequestExtensions)
        leap(EXTENSIONS_S)
        second = await upstream.accept()
        await second.greet()
        request = await second.expect(RequestExtensions)
        second.say(RequestExtensionsError(request.request_id, (EXTENSION,), ()))
        await eventually(lambda: bench.count("failures_total", cause="UpstreamUnusable") == 2)
        assert "0x4548" in bench.client.failure
        assert bench.changes == [False, False]


async def test_a_refused_setup_is_counted_and_tried_again(upstream: Upstream, eventually: Eventually) -> None:
    bench = Bench(upstream)
    async with bench.running():
        connection = await upstream.accept()
        await connection.expect(SetupConnection)
        connection.say(SetupConnectionError(4, "unsupported-feature-flags"))
        await (await upstream.accept()).expect(SetupConnection)
        assert "unsupported-feature-flags" in bench.client.failure


async def test_a_silent_setup_is_given_up(upstream: Upstream) -> None:
    bench = Bench(upstream, timing=short(setup=0.02))
    async with bench.running():
        await (await upstream.accept()).expect(SetupConnection)
        await (await upstream.accept()).expect(SetupConnection)
        assert bench.count("failures_total", cause="TimeoutError") >= 1


async def test_a_refused_channel_is_asked_for_again(upstream: Upstream) -> None:
    bench = Bench(upstream, timing=short(refused=0.01))
    owner = Owner()
    channel = bench.client.open(owner)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        request = await connection.expect(OpenExtendedMiningChannel)
        connection.say(OpenMiningChannelError(request.request_id, "unknown-user"))
        again = await connection.expect(OpenExtendedMiningChannel)
        assert again.request_id != request.request_id
        assert owner.heard == [("refused", "unknown-user")]
        channel.close("enough")
        connection.say(OpenMiningChannelError(again.request_id, "unknown-user"))
        await connection.expect_silence()
        assert owner.heard == [("refused", "unknown-user")]
        assert bench.count("channel_refusals_total") == 1


async def test_a_channel_closed_while_it_opens_is_closed_upstream_too(upstream: Upstream) -> None:
    bench = Bench(upstream)
    owner = Owner()
    channel = bench.client.open(owner)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        request = await connection.expect(OpenExtendedMiningChannel)
        channel.close("miner left")
        channel.close("twice is harmless")
        connection.say(success(request, 5))
        assert await connection.expect(CloseChannel) == CloseChannel(5, "no longer wanted")
        assert owner.heard == []


async def test_an_owner_closes_its_channel_and_the_id_is_free_again(upstream: Upstream) -> None:
    bench = Bench(upstream)
    channel = bench.client.open(Owner())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        await connection.expect_silence()
        verdicts: list[Verdict] = []
        submit(channel, verdicts)
        await connection.expect(SubmitSharesExtended)
        channel.close("miner left")
        assert verdicts == [LOST]
        assert await connection.expect(CloseChannel) == CloseChannel(5, "miner left")
        other = Owner()
        bench.client.open(other)
        await connection.grant(5)
        await connection.expect_silence()
        assert other.heard == [("opened", ())]


async def test_a_channel_that_the_upstream_closes_is_opened_again(upstream: Upstream) -> None:
    bench = Bench(upstream, timing=short(closed=0.01))
    owner = Owner()
    bench.client.open(owner)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        connection.say(CloseChannel(5, "no work"))
        await connection.grant(6)
        await connection.expect_silence()
        assert owner.heard == [
            ("opened", ()),
            ("lost", "the upstream closed the channel: no work"),
            ("opened", ()),
        ]


async def test_what_is_said_to_a_group_reaches_each_member(upstream: Upstream) -> None:
    bench = Bench(upstream)
    owners = [Owner(), Owner(), Owner()]
    channels = [bench.client.open(owner) for owner in owners]
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        for channel_id in (2, 3, 4):
            await connection.grant(channel_id)
        connection.say(SetTarget(1, 50), SetGroupChannel(9, (3, 77)), SetTarget(9, 40), SetTarget(1, 30))
        await connection.expect_silence()
        by_id = {channel.id: channel.target for channel in channels}
        assert by_id == {2: 30, 3: 40, 4: 30}
        connection.say(CloseChannel(1, "bye"))
        await connection.expect_silence()
        assert sorted(channel.id for channel in channels if channel.is_open) == [3]


async def test_an_owner_that_closes_another_channel_meanwhile_does_no_harm(upstream: Upstream) -> None:
    bench = Bench(upstream)

    class Jealous(Owner):
        def received(self, message: Message) -> None:
            super().received(message)
            channels[1].close("mine alone")

    owners = [Jealous(), Owner()]
    channels = [bench.client.open(owner) for owner in owners]
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(2)
        await connection.grant(3)
        await connection.expect_silence()
        connection.say(SetTarget(1, 50))
        assert await connection.expect(CloseChannel) == CloseChannel(3, "mine alone")
        assert owners[1].heard == [("opened", ())]


async def test_messages_for_nobody_and_of_unknown_types_are_ignored_and_counted(upstream: Upstream) -> None:
    bench = Bench(upstream)
    bench.client.open(Owner())
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        connection.say(
            SetTarget(77, 1),
            SubmitSharesSuccess(77, 1, 1, 1),
            SubmitSharesError(77, 1, "x"),
            SetupConnectionSuccess(2, 0),
            OpenMiningChannelError(99, "nobody asked"),
            CloseChannel(78, "x"),
        )
        connection.to_client.put_nowait([Frame(0x7777, False, 0x42, b"\x01\x02")])
        await connection.expect_silence()
        assert bench.count("messages_ignored_total") == 6
        assert bench.client.is_connected


async def test_a_prefix_set_by_the_upstream_is_applied_and_told(upstream: Upstream) -> None:
    bench = Bench(upstream)
    owner = Owner()
    channel = bench.client.open(owner)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5, SetExtranoncePrefix(5, b"\x09" * 6))
        await connection.expect_silence()
        assert channel.extranonce_prefix == b"\x09" * 6
        assert owner.heard[-1] == SetExtranoncePrefix(5, b"\x09" * 6)


async def test_an_update_is_sent_while_open_only(upstream: Upstream) -> None:
    bench = Bench(upstream)
    channel = bench.client.open(Owner())
    channel.update(5.0, 7)
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        await connection.grant(5)
        await connection.expect_silence()
        channel.update(5.0, 7)
        assert await connection.expect(UpdateChannel) == UpdateChannel(5, 5.0, 7)


async def test_a_standard_channel_submits_without_an_extranonce(upstream: Upstream) -> None:
    bench = Bench(upstream)
    channel = bench.client.open(Owner(OpenTerms("a", 1.0, 1 << 255, None)))
    async with bench.running():
        connection = await upstream.accept()
        await connection.greet()
        request = await connection.expect(OpenStandardMiningChannel)
        connection.say(OpenStandardMiningChannelSuccess(request.request_id, 4, 9, b"\x01" * 20, 1))
        await connection.expect_silence()
        assert (channel.extranonce_size, channel.extranonce_prefix) == (0, b"\x01" * 20)
        submit(channel, [], None)
        assert await connection.expect(SubmitSharesStandard) == SubmitSharesStandard(4, 1, 7, 1, 2, 3)
