"""A plain share takes the short way, whatever extranonce its miner was granted after it came, and answers
leave together.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from roles.runtime.line_connection import ServedLines
from roles.stratum.share_desk import ShareDesk
from roles.stratum.submissions import ACCEPTED
from tests.roles.translator.test_resume import Returning


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each share whether it took the short way."""
    taken: list[bool] = []
    take = ShareDesk.take

    def note(desk: ShareDesk, line: bytes, *args: Any) -> bool:
        taken.append(take(desk, line, *args))
        return taken[-1]

    monkeypatch.setattr(ShareDesk, "take", note)
    return taken


async def test_a_plain_share_takes_the_short_way(house: Any, ways: list[bool]) -> None:
    for _ in range(2):
        rig = await house.miner()
        assert (await rig.mine())["result"] is True
    assert ways == [True, True]
    assert len(house.trunk.shares) == 2


async def test_a_miner_that_goes_on_with_its_session_takes_it_too(house: Any, ways: list[bool]) -> None:
    rig = await house.miner(Returning)
    await rig.mine()
    back = Returning()
    back.session, back.password = rig.session, rig.password
    await rig.close()
    house.miners.append(back)
    await back.connect(house.server.address.port)
    await back.start()
    assert back.extranonce1 == rig.extranonce1
    assert (await back.mine())["result"] is True
    assert ways == [True, True]


@pytest.mark.parametrize("settled", [3, 2])
async def test_verdicts_that_come_together_are_told_in_one_write(
    house: Any,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[[Callable[[], object]], Awaitable[None]],
    settled: int,
) -> None:
    house.trunk.verdict = None
    rig = await house.miner()
    for number in range(3):
        params = rig.find(rig.jobs[-1])
        rig.write({"id": 50 + number, "method": "mining.submit", "params": params})
    await eventually(lambda: len(house.trunk.settles) == 3)
    writes: list[int] = []
    send = ServedLines.send

    def note(connection: ServedLines, *lines: bytes) -> None:
        writes.append(len(lines))
        send(connection, *lines)

    monkeypatch.setattr(ServedLines, "send", note)
    for settle in house.trunk.settles[:settled]:
        settle(ACCEPTED)
    for number in range(settled):
        assert (await rig.reply(50 + number))["result"] is True
    assert writes == [settled]
