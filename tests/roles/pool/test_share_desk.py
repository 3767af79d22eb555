"""What the desk makes of the ledger's word on shares of several connections."""

from typing import Any
from unittest.mock import MagicMock

import pytest

from protocols.sv2.mining import SubmitSharesError
from roles.credit.ledger_rows import Entry, Fate, Outcome, Record
from roles.pool.share_desk import Credit, Judged, ShareDesk

HASH = bytes(32)


@pytest.fixture
def desk() -> ShareDesk:
    nobody: Any = MagicMock()
    return ShareDesk(nobody, nobody, nobody, nobody, MagicMock(is_low=False), bars_key=lambda _: False)


def share(member: Any) -> Judged:
    return Judged(member, 7, HASH, 16, False, Entry(HASH, bytes(80), 1, 1, bytes(33), False))


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_share_is_settled_by_the_fate_at_its_own_place_among_all(desk: ShareDesk, start: int) -> None:
    member = MagicMock()
    member.channel.channel_id = 5
    fates = (Fate.DUPLICATE, Fate.RECORDED, Fate.REPEATED)
    outcome = Outcome(0, [Record(fate, 9) for fate in fates])
    credits, errors = desk.settle([share(member)], outcome, start)
    assert errors == ([SubmitSharesError(5, 7, "duplicate-share")] if start == 0 else [])
    assert credits == ([] if start == 0 else [Credit(member, 7, 1, start == 1, 16 if start == 1 else 0)])
