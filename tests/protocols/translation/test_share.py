from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.sv1.errors import Rejection
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Submit
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare, judge, judge_plain
from protocols.translation.verdict import rejection
from protocols.translation.work import Draft, Tip, Work

NOW = 1_700_000_000
EASY = (1 << 256) - 1


def work(target: int = EASY, version: int = 0x20000000, rolling: bool = True) -> Work:
    tip = Tip(b"\x07" * 32, NOW - 100, 0x207FFFFF)
    draft = Draft(version, (), b"\x01" * 60, b"\x02" * 40, rollable=0x1FFFFFE0 if rolling else 0)
    return Work(3, draft.on(tip), NOW - 100, b"\xaa", b"\0\0", target)


def share(**changed: Any) -> Submit:
    fields = {
        "user": "a",
        "job_id": "1",
        "extranonce2": b"\x05" * 8,
        "ntime": NOW,
        "nonce": 9,
        "version_bits": 0,
    }
    return Submit(**{**fields, **changed})


def verdict(submit: Submit, of: Work, mask: int = 0x1FFFE000, miner_target: int = 0) -> JudgedShare:
    return judge(
        submit,
        of,
        layout=Layout(8),
        extranonce1=b"\x01\x02\x03\x04",
        mask=mask,
        miner_target=miner_target,
        now=NOW,
    )


def hash_of(of: Work, submit: Submit, version: int) -> bytes:
    draft = of.pattern.draft
    root = sha256d(draft.head + of.end + b"\x01\x02\x03\x04" + submit.extranonce2 + draft.coinbase2)
    return Header(version, of.tip.previous, root, submit.ntime, of.tip.bits, submit.nonce).hash()


def test_a_good_share_is_forwarded_with_padding_slice_and_extranonce2() -> None:
    judged = verdict(share(version_bits=0x6000), work())
    assert judged.version == 0x20006000
    assert judged.share_hash == hash_of(work(), share(), 0x20006000)
    assert judged.extranonce == b"\0\0" + b"\x01\x02\x03\x04" + b"\x05" * 8
    assert judged.forward


@pytest.mark.parametrize("size", [0, 7, 9])
def test_another_extranonce2_size_is_refused(size: int) -> None:
    with pytest.raises(Rejection, match="Wrong extranonce2 size"):
        verdict(share(extranonce2=bytes(size)), work())


@pytest.mark.parametrize(("ntime", "good"), [(-101, False), (-100, True), (7200, True), (7201, False)])
def test_a_header_time_is_between_the_tips_and_two_hours_from_now(ntime: int, good: bool) -> None:
    submit = share(ntime=NOW + ntime)
    if good:
        assert verdict(submit, work()).forward
    else:
        with pytest.raises(Rejection, match="Ntime out of range"):
            verdict(submit, work())


def test_a_share_is_judged_by_the_target_of_its_work() -> None:
    number = int.from_bytes(hash_of(work(), share(), 0x20000000), "little")
    assert verdict(share(), work(target=number)).forward
    with pytest.raises(Rejection) as caught:
        verdict(share(), work(target=number - 1))
    assert (caught.value.code, caught.value.text) == (23, "Above target")


def test_a_share_for_the_miners_own_easier_target_is_not_forwarded() -> None:
    number = int.from_bytes(hash_of(work(), share(), 0x20000000), "little")
    assert not verdict(share(), work(target=number - 1), miner_target=number).forward
    assert verdict(share(), work(target=number), miner_target=number - 1).forward


@pytest.mark.parametrize(
    "combine", [lambda v, b: v | b, lambda v, b: v ^ b, lambda v, b: (v & ~0x1FFFE000) | (b & 0x1FFFE000)]
)
def test_whichever_way_firmware_combines_version_bits_the_good_hash_is_found(
    combine: Callable[[int, int], int],
) -> None:
    of = work(version=0x2000E000)
    meant = combine(0x2000E000, 0x6000)
    number = int.from_bytes(hash_of(of, share(), meant), "little")
    others = [
        int.from_bytes(hash_of(of, share(), other), "little")
        for other in {0x2000E000, 0x20008000, 0x20006000} - {meant}
    ]
    judged = verdict(share(version_bits=0x6000), of)
    assert int.from_bytes(judged.share_hash, "little") == min(number, *others)


def test_bits_on_a_job_that_must_not_be_rolled_are_not_counted() -> None:
    assert verdict(share(version_bits=0x6000), work(rolling=False)).version == 0x20000000


@pytest.mark.parametrize(
    ("bits", "rolling", "code", "text"),
    [
        (0x00000001, True, 20, "Invalid version bits"),
        (0x80000000, True, 20, "Invalid version bits"),
        (0x00006000, False, 20, "Invalid version bits"),
        (0x00006000, True, 23, "Above target"),
        (0x20006000, True, 23, "Above target"),
        (0x20000000, False, 23, "Above target"),
    ],
)
def test_a_share_that_misses_with_bits_that_nobody_may_roll_is_told_so(
    bits: int, rolling: bool, code: int, text: str
) -> None:
    with pytest.raises(Rejection) as caught:
        verdict(share(version_bits=bits), work(target=0, rolling=rolling))
    assert (caught.value.code, caught.value.text) == (code, text)


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        Submit,
        st.just("a"),
        st.just("1"),
        st.binary(max_size=12),
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFFFFFFFF),
    ),
    st.integers(0, EASY),
    st.integers(0, EASY),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.booleans(),
)
def test_a_verdict_is_a_share_that_meets_a_target_or_a_rejection(
    submit: Submit, target: int, miner_target: int, version: int, mask: int, rolling: bool
) -> None:
    of = work(target, version, rolling)
    try:
        judged = verdict(submit, of, mask, miner_target)
    except Rejection:
        return
    number = int.from_bytes(judged.share_hash, "little")
    assert judged.share_hash == hash_of(of, submit, judged.version)
    assert number <= (target if judged.forward else miner_target)


@pytest.mark.parametrize(
    ("code", "wire", "text"),
    [
        ("stale-share", 21, "Stale"),
        ("invalid-job-id", 21, "Job not found"),
        ("duplicate-share", 22, "Duplicate share"),
        ("difficulty-too-low", 23, "Above target"),
        ("invalid-share", 20, "Ntime out of range"),
        ("something-new", 20, "something-new"),
        ("", 20, "Rejected"),
        ("a\nb", 20, "a?b"),
    ],
)
def test_upstream_codes_become_texts_that_firmware_counts_by(code: str, wire: int, text: str) -> None:
    error = rejection(code)
    assert (error.code, error.text) == (wire, text)


def plain(**changed: Any) -> PlainSubmit:
    submit = share(**changed)
    numbers = submit.ntime, submit.nonce, submit.version_bits
    return PlainSubmit(1, submit.job_id, submit.extranonce2, *numbers, submit.user)


def judged_plain(submit: PlainSubmit, of: Work, mask: int = 0x1FFFE000, now: int = NOW) -> JudgedShare | None:
    return judge_plain(submit, of, extranonce1=b"\x01\x02\x03\x04", mask=mask, now=now)


@pytest.mark.parametrize("bits", [0, 0x6000, 0x1FFFE000])
@pytest.mark.parametrize("mask", [0, 0x1FFFE000])
@pytest.mark.parametrize("version", [0x20000000, 0x20006000])
@pytest.mark.parametrize("rolling", [True, False])
@pytest.mark.parametrize("target", [EASY, EASY >> 1, 1])
def test_a_plain_share_is_judged_as_any_other(
    bits: int, mask: int, version: int, rolling: bool, target: int
) -> None:
    of = work(target, version, rolling)
    short = judged_plain(plain(version_bits=bits), of, mask)
    if short is not None:
        assert short == verdict(share(version_bits=bits), of, mask)
        assert short.forward


def test_what_is_unusual_about_a_share_is_left_to_the_long_way() -> None:
    assert judged_plain(plain(), work()) is not None
    assert judged_plain(plain(version_bits=0x6000), work()) is not None
    assert judged_plain(plain(version_bits=1), work()) is None
    assert judged_plain(plain(version_bits=0x6000), work(version=0x20006000)) is None
    assert judged_plain(plain(version_bits=0x6000), work(rolling=False)) is None
    assert judged_plain(plain(ntime=NOW - 101), work()) is None
    assert judged_plain(plain(ntime=NOW + 1), work()) is None
    assert judged_plain(plain(), work(target=1)) is None
