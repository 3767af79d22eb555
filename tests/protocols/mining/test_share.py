import json
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.bitcoin.target import MAX_TARGET, from_bits
from protocols.bitcoin.transaction import TxOut
from protocols.mining import share as verdicts
from protocols.mining.channel import Channel, ExtendedChannel, StandardChannel
from protocols.mining.errors import DifficultyTooLow, DuplicateShare, ShareRefused
from protocols.mining.job import Job, Template, Tip, build_work
from protocols.mining.share import SeenShares, check_version, extended_root, judge
from protocols.sv2.mining import SubmitSharesExtended, SubmitSharesStandard

NOW = 1_700_000_000
KEY = b"\x02" + b"\x11" * 32
OTHER = b"\x03" + b"\x22" * 32
VECTORS = json.loads((Path(__file__).parents[2] / "vectors/sv2/sri_jobs_shares.json").read_text())
COMMON = VECTORS["common_template"]


def changed(share: Any, **fields: Any) -> Any:
    from dataclasses import replace

    return replace(share, **fields)


def vector_work(vector: dict[str, Any], extranonce_size: int) -> Any:
    own = vector["template"]
    coinbase = CoinbaseTemplate(
        COMMON["coinbase_tx_version"],
        bytes.fromhex(own["coinbase_prefix"]),
        own["coinbase_tx_input_sequence"],
        COMMON["coinbase_tx_value_remaining"],
        COMMON["template_outputs_count"],
        bytes.fromhex(COMMON["template_outputs"]),
        own["coinbase_tx_locktime"],
    )
    reward = TxOut(COMMON["coinbase_tx_value_remaining"], bytes.fromhex(COMMON["reward_script"]))
    template = Template(1, COMMON["version"], coinbase, ())
    return build_work(template, [reward], pool="", revision=0, extranonce_size=extranonce_size)


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS["vectors"] if v["kind"] in ("share_hash", "merkle_root")],
    ids=lambda vector: vector["name"],
)
def test_shares_of_the_reference_implementation_have_its_roots_and_hashes(vector: dict[str, Any]) -> None:
    extranonce = bytes.fromhex(vector["extranonce_prefix"] + vector.get("extranonce", ""))
    work = vector_work(vector, len(extranonce))
    root = extended_root(work, extranonce)
    if vector["kind"] == "merkle_root":
        assert root.hex() == vector["expected"]
        return
    bits = vector["nbits"]
    tip = Tip(bytes.fromhex(vector["prev_hash"]), vector["tip_min_ntime"], bits, from_bits(bits), 0)
    share = SubmitSharesExtended(
        1, 0, 1, vector["nonce"], vector["ntime"], vector["header_version"], extranonce
    )
    seen = SeenShares()
    verdict = judge(Job(1, work, tip, MAX_TARGET), root, extranonce, share=share, key=None, seen=seen)
    assert verdict.share_hash[::-1].hex() == vector["expected"]
    assert verdict.block == ("block found" in vector["expected_result"])
    with pytest.raises(DuplicateShare):
        judge(Job(1, work, tip, MAX_TARGET), root, extranonce, share=share, key=None, seen=seen)


def test_a_share_that_meets_its_target_is_accepted_with_its_header(channel: Channel, mine: Any) -> None:
    share, verdict = mine(channel, KEY)
    assert verdict.credited
    assert not verdict.block
    assert not verdict.repeated
    assert verdict.job is channel.jobs.active
    assert int.from_bytes(verdict.share_hash, "little") <= channel.target
    assert verdict.header[-4:] == share.nonce.to_bytes(4, "little")
    assert verdict.extranonce == channel.prefix + bytes(16)


def test_a_share_above_its_target_is_refused_as_difficulty_too_low(channel: Channel, mine: Any) -> None:
    share, _ = mine(channel)
    for nonce in range(share.nonce):
        with pytest.raises(DifficultyTooLow) as caught:
            channel.judge(changed(share, nonce=nonce), None, NOW)  # type: ignore[attr-defined]
        assert caught.value.code == "difficulty-too-low"


def refused(channel: Any, share: Any, now: int = NOW) -> str:
    with pytest.raises(ShareRefused) as caught:
        channel.judge(share, KEY, now)
    return caught.value.code


def test_the_time_of_a_header_is_bounded_on_both_sides(channel: Any, mine: Any) -> None:
    share, _ = mine(channel)
    least = channel.jobs.active.tip.min_ntime
    assert refused(channel, changed(share, ntime=least - 1)) == "invalid-share"
    assert refused(channel, changed(share, ntime=NOW + 7201)) == "invalid-share"
    for ntime in (least, NOW + 7200):
        verdicts.check_time(ntime, channel.jobs.active.tip, NOW)


def test_a_second_for_each_since_the_tip_is_always_allowed(make_tip: Any) -> None:
    late = make_tip()
    ahead = Tip(late.previous, NOW + 9000, late.bits, late.block_target, NOW)
    verdicts.check_time(NOW + 9000, ahead, NOW)
    verdicts.check_time(NOW + 9010, ahead, NOW + 10)
    with pytest.raises(ShareRefused):
        verdicts.check_time(NOW + 9011, ahead, NOW + 10)


def test_only_version_bits_of_bip323_may_be_rolled(channel: Any, mine: Any) -> None:
    share, _ = mine(channel)
    for bit in range(32):
        rolled = changed(share, version=share.version ^ 1 << bit)
        if 0x1FFFFFE0 >> bit & 1:
            check_version(rolled.version, share.version, rolling=True)
        else:
            assert refused(channel, rolled) == "invalid-non-rollable-version-bit", bit


def test_no_version_bit_may_be_rolled_where_the_job_forbids_it(channel: Any, mine: Any) -> None:
    share, _ = mine(channel)
    channel.version_rolling = False
    assert refused(channel, changed(share, version=share.version ^ 1 << 13)) == "version-rolling-not-allowed"
    check_version(7, 7, rolling=False)


@pytest.mark.parametrize("channel", [ExtendedChannel], indirect=True)
@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_an_extranonce_of_another_size_is_refused(channel: Any, mine: Any, size: int) -> None:
    share, _ = mine(channel)
    assert refused(channel, changed(share, extranonce=bytes(size))) == "bad-extranonce-size"


def test_a_job_that_was_never_given_is_unknown(channel: Any, mine: Any) -> None:
    share, _ = mine(channel)
    assert refused(channel, changed(share, job_id=77)) == "invalid-job-id"


def test_a_job_of_the_tip_before_is_stale_and_a_past_job_of_this_tip_is_not(
    channel: Any, mine: Any, make_work: Any, make_tip: Any
) -> None:
    share, _ = mine(channel)
    channel.follow(make_work(2))
    assert refused(channel, share) == "duplicate-share"
    channel.begin(make_work(3), make_tip(2))
    assert refused(channel, share) == "stale-share"
    channel.begin(make_work(4), make_tip(3))
    assert refused(channel, share) == "invalid-job-id"


def test_checks_come_in_the_order_of_the_reference_implementation(channel: Any, mine: Any) -> None:
    share, _ = mine(channel)
    bad = changed(share, version=share.version ^ 1, ntime=0, job_id=77, nonce=share.nonce)
    order = [(bad, "invalid-job-id")]
    if isinstance(channel, ExtendedChannel):
        bad = changed(bad, job_id=share.job_id, extranonce=b"")
        order.append((bad, "bad-extranonce-size"))
        bad = changed(bad, extranonce=share.extranonce)
    bad = changed(bad, job_id=share.job_id)
    order.append((bad, "invalid-share"))
    bad = changed(bad, ntime=share.ntime)
    order.append((bad, "invalid-non-rollable-version-bit"))
    for share_, code in order:
        assert refused(channel, share_) == code


def test_the_same_share_for_the_same_key_is_a_repetition_and_for_another_a_duplicate(
    channel: Any, mine: Any
) -> None:
    share, first = mine(channel, KEY)
    again = channel.judge(changed(share, sequence_number=9), KEY, NOW)
    assert again.repeated
    assert again.share_hash == first.share_hash
    for key in (OTHER, None):
        with pytest.raises(DuplicateShare) as caught:
            channel.judge(share, key, NOW)
        assert caught.value.code == "duplicate-share"


def test_a_share_that_could_not_be_stored_may_come_again(channel: Any, mine: Any) -> None:
    share, verdict = mine(channel)
    assert verdict.share_hash in channel.seen
    channel.seen.forget(verdict.share_hash)
    channel.seen.forget(verdict.share_hash)
    assert verdict.share_hash not in channel.seen
    assert not channel.judge(share, None, NOW).repeated


def test_the_memory_for_shares_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "GENERATION", 3)
    seen = SeenShares()
    for number in range(8):
        assert not seen.repeats(bytes((number,)), KEY)
    assert len(seen) == 5
    for number in range(3, 8):
        assert seen.repeats(bytes((number,)), KEY)
    with pytest.raises(DuplicateShare):
        seen.repeats(bytes((3,)), OTHER)
    seen.forget(bytes((3,)))
    assert not seen.repeats(bytes((3,)), OTHER)
    assert not seen.repeats(bytes((0,)), KEY)
    seen.clear()
    assert len(seen) == 0


def test_a_hash_that_meets_the_block_target_is_a_block(make_work: Any, make_tip: Any, mine: Any) -> None:
    channel = StandardChannel(2, b"\1\0\0\1", target=MAX_TARGET, max_target=MAX_TARGET)
    channel.begin(make_work(), make_tip(block_hashes=64))
    found = [mine(channel, start=nonce)[1].block for nonce in range(400)]
    assert 1 <= sum(found) <= 30


def test_a_block_that_misses_a_target_harder_than_a_block_is_a_block_without_credit(
    make_work: Any, make_tip: Any
) -> None:
    channel = ExtendedChannel(2, b"\1\0\0\1", target=0, max_target=0)
    channel.begin(make_work(), make_tip(block_hashes=1))
    share = SubmitSharesExtended(2, 1, 1, 0, NOW, 0x20000000, bytes(16))
    verdict = channel.judge(share, KEY, NOW)
    assert verdict.block
    assert not verdict.credited


def test_a_standard_share_is_hashed_as_the_extended_one_with_zeros(
    make_work: Any, make_tip: Any, mine: Any
) -> None:
    path = (bytes((1,)) * 32, bytes((2,)) * 32)
    standard = StandardChannel(2, b"\1\0\0\1", target=MAX_TARGET, max_target=MAX_TARGET)
    extended = ExtendedChannel(3, b"\1\0\0\1", target=MAX_TARGET, max_target=MAX_TARGET)
    for channel in (standard, extended):
        channel.begin(make_work(merkle_path=path), make_tip())
    share = SubmitSharesStandard(2, 1, 1, 5, NOW, 0x20000000)
    wide = SubmitSharesExtended(3, 1, 1, 5, NOW, 0x20000000, bytes(16))
    assert standard.judge(share, None, NOW).header == extended.judge(wide, None, NOW).header
