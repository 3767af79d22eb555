import pytest

from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.bitcoin.target import MAX_TARGET, from_work, work
from protocols.mining.channel import ExtendedChannel
from protocols.mining.credit_target import CreditRule
from protocols.mining.job import Template, Tip
from protocols.mining.vardiff import PROBE
from roles.pool.miner_channel import MinerChannel
from roles.pool.terms import Terms
from roles.pool.workshop import Workshop

TERMS = Terms(CreditRule(2, floor=64), shares_per_minute=60.0)
BLOCK = from_work(1 << 40)
BEGAN = 1000.0


@pytest.fixture
def workshop() -> Workshop:
    made = Workshop(b"\x51", "t", block_hashes=None, listener=lambda _: None)
    made.begin(
        Template((1, 1), 2, CoinbaseTemplate(2, b"\x01\x70", 0, 5, 0, b"", 1), ()),
        Tip(bytes(32), 1, 2, BLOCK, 4),
    )
    return made


def member(wanted: int) -> MinerChannel:
    target = TERMS.rule.target(wanted, network=BLOCK, max_target=MAX_TARGET)
    channel = ExtendedChannel(2, bytes(4), target=target, max_target=MAX_TARGET)
    return MinerChannel(channel, TERMS, BEGAN, wanted=wanted, declared=0.0)


def test_the_silence_of_a_miner_with_the_easiest_target_changes_nothing(workshop: Workshop) -> None:
    silent = member(0)
    for second in range(1, 60):
        now = BEGAN + second
        if silent.is_due(now):
            assert silent.adjust(workshop, now) is None
    assert not silent.is_due(now)
    assert silent.hashrate(now) == 0
    assert silent.hashes == 0


def test_silence_makes_a_target_easier_step_by_step_until_it_is_the_easiest(workshop: Workshop) -> None:
    silent, looks, targets = member(1 << 30), 0, []
    assert not silent.is_due(BEGAN + 1)
    for second in range(1, 60):
        now = BEGAN + second
        if silent.is_due(now):
            looks += 1
            changed = silent.adjust(workshop, now)
            targets += [] if changed is None else [work(changed.maximum_target)]
    assert targets == sorted(set(targets), reverse=True)
    assert 1 << 20 < targets[0] < 1 << 30
    assert targets[-1] == 64
    assert looks < 40


def test_a_channel_is_looked_at_when_a_share_has_come(workshop: Workshop) -> None:
    heard = member(1 << 10)
    assert not heard.credit(1 << 10, BEGAN + 0.5, 1)
    assert heard.is_due(BEGAN + 0.6)
    assert heard.adjust(workshop, BEGAN + 0.6) is None
    assert not heard.is_due(BEGAN + 0.7)
    assert heard.hashes == PROBE * (1 << 10)
    assert heard.hashrate(BEGAN + 0.7) == PROBE * (1 << 10)


def test_a_flood_of_shares_asks_for_a_new_target_at_once(workshop: Workshop) -> None:
    heard = member(1 << 10)
    assert heard.credit(1 << 16, BEGAN + 0.5, 64)
    changed = heard.adjust(workshop, BEGAN + 0.5)
    assert changed is not None
    assert work(changed.maximum_target) > 8 << 10
