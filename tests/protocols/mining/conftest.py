"""Work as small as it can be, and miners that find shares in it."""

from collections.abc import Callable

import pytest

from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.bitcoin.target import from_work
from protocols.bitcoin.transaction import TxOut
from protocols.mining.channel import Channel, ExtendedChannel, StandardChannel
from protocols.mining.job import Template, Tip, Work, build_work
from protocols.mining.share import Verdict
from protocols.sv2.mining import SubmitSharesExtended, SubmitSharesStandard

NOW = 1_700_000_000
REWARD = TxOut(5_000_000_000, bytes.fromhex("0014") + bytes(20))

TipMaker = Callable[..., Tip]
TemplateMaker = Callable[..., Template]
WorkMaker = Callable[..., Work]


@pytest.fixture
def make_tip() -> TipMaker:
    def make(number: int = 1, block_hashes: int = 1 << 40, received: int = NOW) -> Tip:
        return Tip(bytes((number,)) * 32, NOW - 600, 0x207FFFFF, from_work(block_hashes), received)

    return make


@pytest.fixture
def make_template() -> TemplateMaker:
    def make(number: int = 1, merkle_path: tuple[bytes, ...] = (), version: int = 0x20000000) -> Template:
        coinbase = CoinbaseTemplate(2, b"\x01\x70", 0xFFFFFFFE, REWARD.value, 0, b"", number)
        return Template(number, version, coinbase, merkle_path)

    return make


@pytest.fixture
def make_work(make_template: TemplateMaker) -> WorkMaker:
    def make(number: int = 1, revision: int = 0, merkle_path: tuple[bytes, ...] = ()) -> Work:
        return build_work(make_template(number, merkle_path), [REWARD], pool="t", revision=revision)

    return make


Search = Callable[..., tuple[SubmitSharesStandard | SubmitSharesExtended, Verdict]]


@pytest.fixture
def mine() -> Search:
    """Find a share of a channel's active job by trying nonces, and return it with its verdict."""

    def search(
        channel: StandardChannel | ExtendedChannel, key: bytes | None = None, start: int = 0
    ) -> tuple[SubmitSharesStandard | SubmitSharesExtended, Verdict]:
        from protocols.mining.errors import DifficultyTooLow

        job = channel.jobs.active
        assert job is not None
        for nonce in range(start, start + 100_000):
            fields = (channel.channel_id, nonce, job.job_id, nonce, NOW, job.work.version)
            try:
                if isinstance(channel, StandardChannel):
                    standard = SubmitSharesStandard(*fields)
                    return standard, channel.judge(standard, key, NOW)
                extended = SubmitSharesExtended(*fields, bytes(16))
                return extended, channel.judge(extended, key, NOW)
            except DifficultyTooLow:
                continue
        raise AssertionError("no share found")

    return search


@pytest.fixture(params=[StandardChannel, ExtendedChannel])
def channel(request: pytest.FixtureRequest, make_work: WorkMaker, make_tip: TipMaker) -> Channel:
    """A channel of either kind, at work under a target of 64 hashes."""
    kind: type[StandardChannel] | type[ExtendedChannel] = request.param
    made = kind(2, b"\x01\0\0\x07", target=from_work(64), max_target=2**256 - 1)
    made.begin(make_work(), make_tip())
    return made
