"""What every miner of the table goes through, whatever serves it."""

import asyncio
from typing import Final, Protocol

from tests.functional.miner_profiles import AUTHORIZE, Profile, plain, subscribe, suggest
from tests.functional.processes import Daemon
from tests.functional.scripted_miner import ScriptedMiner
from tests.roles.translator.scripted_proxy import PATIENCE

PROBE: Final = plain("probe")
PROBER: Final = plain("prober", segments=((subscribe(),), (AUTHORIZE, suggest(1))))
FLAPPER: Final = plain("flapper", "bitaxe/BM1366/v2.15.0")
STRAYS: Final = {
    "nothing": b"",
    "half-a-line": b'{"id":1,"method":"mining.sub',
    "http": b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n",
    "tls": b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03",
    "proxy": b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n",
    "proxy-2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c",
    "sv2": bytes(range(64)),
}
"""What peers say that are no miners."""
CHANGE_S: Final = 60.0


class Stage(Protocol):
    """A system that serves miners."""

    @property
    def server(self) -> Daemon:
        """What miners connect to."""

    async def connect(self, profile: Profile, port: int | None = None) -> ScriptedMiner:
        """A miner with its socket open, and nothing said."""

    async def miner(self, profile: Profile, port: int | None = None) -> ScriptedMiner:
        """A miner that has work."""

    async def new_block(self) -> None:
        """Somebody else finds a block."""

    async def rejected(self) -> dict[str, float]:
        """Shares that miners' server has rejected, by reason."""


async def mines_through_a_change_and_a_block(stage: Stage, profile: Profile, shares: int) -> None:
    """Shares are accepted, whatever the difficulty and the tip."""
    before = await stage.rejected()
    miner = await stage.miner(profile)
    started = miner.jobs[-1].difficulty
    await miner.dig(shares // 2)
    # Shares come faster than the pool wants them.
    async with asyncio.timeout(CHANGE_S):
        while miner.jobs[-1].difficulty == started and profile.has_fractions:
            await miner.dig(10, at_once=True)
    tip = miner.jobs[-1].params[1]
    await stage.new_block()
    await miner.until(lambda: miner.jobs[-1].params[1] != tip)
    # A change of difficulty brings work of the new block a second time.
    assert all(job.params[1] != tip for job in miner.jobs), "work of the block before is still thought good"
    await miner.dig(shares // 2, at_once=True)
    assert not miner.is_gone
    after = await stage.rejected()
    changed = {reason: n - before.get(reason, 0) for reason, n in after.items() if n != before.get(reason, 0)}
    assert changed == ({"duplicate": 1} if profile.submits_twice else {})


async def hears_the_truth_about_bad_shares(stage: Stage, profile: Profile) -> None:
    """Each bad share has the answer that its firmware understands."""
    miner = await stage.miner(profile)
    job = await miner.job()
    good = miner.search(job)
    assert (await miner.hand_in(good))["result"] is True
    assert (await miner.hand_in(good))["error"] == [22, "Duplicate share", None]
    low = miner.search(job, good=False)
    assert (await miner.hand_in(low))["error"] == [23, "Above target", None]
    assert (await miner.hand_in([good[0], "ffff", *good[2:]]))["error"] == [21, "Job not found", None]
    late = miner.search(job)
    tip = job.params[1]
    await stage.new_block()
    await miner.until(lambda: miner.jobs[-1].params[1] != tip)
    assert (await miner.hand_in(late))["error"] == [21, "Stale", None]
    await miner.dig(2)


async def is_found_by_a_probe(stage: Stage) -> None:
    """One read of at most 1,023 bytes, searched for `mining.notify`."""
    probe = await stage.connect(PROBE)
    probe.write(
        b'{"id": 1, "method": "mining.subscribe", "params": ["bitaxe/BM1370/v2.15.0"]}\n'
        b'{"id": 2, "method": "mining.authorize", "params": ["probe.one", "x"]}\n'
    )
    assert b"mining.notify" in await asyncio.wait_for(probe.reader.read(1023), PATIENCE)


async def goes_on_with_its_session(stage: Stage, profile: Profile) -> None:
    """A miner that names its session has its extranonce, and its shares of before count."""
    before = await stage.rejected()
    first = await stage.miner(profile)
    await first.dig(5)
    job = first.jobs[-1]
    answered, unsent = first.search(job), first.search(job)
    assert (await first.hand_in(answered))["result"] is True
    await first.close()
    second = await stage.connect(profile)
    second.session, second._shares = first.session, first._shares
    await second.start()
    assert second.extranonce1 == first.extranonce1
    assert second.session == first.session
    # One of which it may not have heard, and one found before its socket broke: both on a job of that socket.
    for params in (answered, unsent):
        assert (await second.hand_in(params))["result"] is True
    await second.dig(5)
    assert await stage.rejected() == before


async def is_not_bothered_by_a_stray(stage: Stage, head: bytes) -> None:
    """Scanners, probes and mistaken ports are of daily occurrence: no warning, and nobody else notices."""
    working = await stage.miner(FLAPPER)
    before = stage.server.log
    assert "level=info" in before
    stray = await stage.connect(PROBE)
    stray.write(head)
    if stray.writer.can_write_eof():
        stray.writer.write_eof()
    stray.listen()
    await stray.until(lambda: stray.is_gone)
    await working.dig(2)
    said = stage.server.log[len(before) :].splitlines()
    assert [line for line in said if "level=warning" in line or "level=error" in line] == []
