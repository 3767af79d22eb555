"""Both judges of plain shares: what each share comes to, and whom they leave to somebody else."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.hashing import sha256d
from protocols.mining import plain_share
from protocols.mining.plain_share import Bench, BenchMaker, Judge, Take
from protocols.mining.prover import ProverMaker, PythonProver
from protocols.mining.share import GENERATION, SeenShares
from protocols.noise.errors import FrameForged
from protocols.noise.frame_cipher import CipherMaker, PythonCipher
from protocols.noise.handshake import Session
from protocols.sv2.share_frame import SHARE
from tests.native_kernel import native_cipher, native_kernel, native_prover


@dataclass(frozen=True)
class Forms:
    """The parts of one kernel."""

    prover: ProverMaker
    bench: BenchMaker
    judge: Judge
    take: Take
    cipher: CipherMaker


def python() -> Forms:
    return Forms(PythonProver, plain_share.make_bench, plain_share.judge, plain_share.take, PythonCipher)


def native() -> Forms:
    native_kernel()
    from hashpool_kernel import Bench as NativeBench
    from hashpool_kernel import judge, take

    return Forms(native_prover(), NativeBench, judge, take, native_cipher)


both = pytest.mark.parametrize("forms", [python, native])
Chosen = Callable[[], Forms]

PAYLOAD: Final = Struct("<6IB16s")
HEADER: Final = SHARE + PAYLOAD.size.to_bytes(3, "little")
PATH: Final = (b"\x05" * 32, b"\x06" * 32)
NOW: Final = 1_700_000_500
VERSION: Final = 0x20000000
KEY: Final = b"\x02" * 33
ALL: Final = (1 << 256) - 1


class Bucket:
    def __init__(self, tokens: float = 100.0) -> None:
        self.tokens, self.when, self.rate, self.burst = tokens, 10.0, 2.0, 100.0


def frame(**changes: Any) -> tuple[bytes, bytes]:
    fields: dict[str, Any] = {
        "channel": 7, "sequence": 1, "job": 3, "nonce": 0, "ntime": NOW, "version": VERSION, "size": 16,
        "extranonce": b"\x09" * 16,
    }  # fmt: skip
    fields |= changes
    return HEADER, PAYLOAD.pack(*fields.values())


class House:
    """One channel with one job, judged by one kernel."""

    def __init__(self, forms: Forms, **changes: Any) -> None:
        self.member = object()
        self.pace = Bucket()
        self.seen = SeenShares()
        prover = forms.prover(b"prefix", b"suffix", PATH, b"\x08" * 32, 0x207FFFFF)
        fields: dict[str, Any] = {
            "member": self.member, "pace": self.pace, "seen": self.seen, "prover": prover,
            "prefix": b"\x01\x02\x03\x04",
            "min_ntime": NOW - 500, "version": VERSION, "fixed": 0xE0001FFF, "target": ALL, "block_target": 0,
            "whole": 5, "threshold": 0, "work": 1000, "key": KEY,
        }  # fmt: skip
        self.bench = Bench(**(fields | changes))
        self._known = {7 << 32 | 3: forms.bench(self.bench)}
        self._judge, self._take = forms.judge, forms.take
        self.judged: list[Any] = []
        self.entries: list[Any] = []
        self.low: list[tuple[int, int]] = []

    def judge(self, *frames: Any, start: int = 0, moment: float = 10.0) -> int:
        """The place where judging ended."""
        return self._judge(self._known, frames, start, (NOW, moment), (self.judged, self.entries, self.low))

    def take(self, cipher: Any, data: bytes) -> list[tuple[bytes, bytes]]:
        """The frames that are left."""
        found = self.judged, self.entries, self.low
        return list(self._take(cipher, data, self._known, (NOW, 10.0), found))


def proof(nonce: int = 0, version: int = VERSION) -> tuple[bytes, bytes]:
    """The header of a share and its hash, by the plain way."""
    root = sha256d(b"prefix\x01\x02\x03\x04" + b"\x09" * 16 + b"suffix")
    for node in PATH:
        root = sha256d(root + node)
    fields = Struct("<I32s32sIII").pack(version, b"\x08" * 32, root, NOW, 0x207FFFFF, nonce)
    return fields, sha256d(fields)


@both
def test_a_good_share_becomes_an_entry_and_a_verdict(forms: Chosen) -> None:
    house = House(forms())
    assert house.judge(frame(nonce=4, sequence=9)) == 1
    header, share_hash = proof(4)
    assert house.entries == [(share_hash, header, ALL, 5, KEY, False)]
    assert house.judged == [(house.member, 9, share_hash, 1000, False, house.entries[0])]
    assert house.judged[0][5] is house.entries[0]
    assert house.judge(frame(nonce=1), frame(nonce=2), start=1) == 2
    assert [entry[0] for entry in house.entries] == [share_hash, proof(2)[1]]


@both
def test_version_bits_may_be_rolled_where_they_are_not_fixed(forms: Chosen) -> None:
    house = House(forms(), key=None)
    rolled = VERSION | 0x1FFFE000
    assert house.judge(frame(version=rolled)) == 1
    header, share_hash = proof(version=rolled)
    assert house.entries == [(share_hash, header, ALL, 5, None, False)]


@both
@pytest.mark.parametrize(
    "other",
    [
        frame(channel=8),
        frame(job=4),
        frame(size=15),
        frame(ntime=NOW + 1),
        frame(ntime=NOW - 501),
        frame(version=VERSION | 1),
        (HEADER, frame()[1] + b"\0"),
        (HEADER, b""),
        (b"\0\0" + HEADER[2:], frame()[1]),
        (HEADER[:2] + b"\x1a" + HEADER[3:], frame()[1]),
    ],
)
def test_what_is_unusual_is_left_to_somebody_else(forms: Chosen, other: tuple[bytes, bytes]) -> None:
    house = House(forms())
    assert house.judge(frame(nonce=1), other, frame(nonce=2)) == 1
    assert len(house.entries) == 1


@both
def test_a_hash_at_its_target_is_good_and_above_it_low(forms: Chosen) -> None:
    number = int.from_bytes(proof()[1], "little")
    house = House(forms(), target=number)
    assert house.judge(frame()) == 1
    house = House(forms(), target=number - 1)
    assert house.judge(frame(sequence=(1 << 32) - 1)) == 1
    assert house.low == [(7, (1 << 32) - 1)]
    assert not house.entries
    assert not house.judged


@both
def test_a_block_and_a_share_that_is_worth_nothing_are_left_to_somebody_else(forms: Chosen) -> None:
    number = int.from_bytes(proof()[1], "little")
    assert House(forms(), block_target=number).judge(frame()) == 0
    assert House(forms(), block_target=number - 1).judge(frame()) == 1
    assert House(forms(), whole=0).judge(frame()) == 0


@both
def test_a_fraction_is_paid_by_the_low_bits_of_the_hash(forms: Chosen) -> None:
    low = int.from_bytes(proof()[1][:8], "little")
    for threshold, amount in ((low, 5), (low + 1, 6), ((1 << 64) - 1, 6)):
        house = House(forms(), threshold=threshold)
        assert house.judge(frame()) == 1
        assert house.entries[0][3] == amount
    house = House(forms(), whole=0, threshold=low + 1)
    assert house.judge(frame()) == 1
    assert house.entries[0][3] == 1


@both
def test_a_repetition_is_left_to_somebody_else(forms: Chosen) -> None:
    house = House(forms())
    assert house.judge(frame(), frame(nonce=1), frame()) == 2
    assert house.seen.recent == {proof()[1]: KEY, proof(1)[1]: KEY}
    house.seen.older, house.seen.recent = house.seen.recent, {}
    assert house.judge(frame()) == 0
    house.seen.recent = dict.fromkeys(number.to_bytes(32, "little") for number in range(GENERATION))
    assert house.judge(frame(nonce=5)) == 0


@both
def test_each_share_takes_a_token_and_tokens_come_back_with_time(forms: Chosen) -> None:
    house = House(forms())
    house.pace.tokens = 2.5
    frames = [frame(nonce=nonce) for nonce in range(5)]
    assert house.judge(*frames) == 2
    assert (house.pace.tokens, house.pace.when) == (0.5, 10.0)
    assert house.judge(*frames, start=2, moment=11.0) == 4
    assert (house.pace.tokens, house.pace.when) == (0.5, 11.0)
    assert house.judge(frame(nonce=9), moment=1000.0) == 1
    assert house.pace.tokens == 99.0
    assert house.judge(frame(nonce=10), moment=5.0) == 1
    assert (house.pace.tokens, house.pace.when) == (98.0, 1000.0)


A, B = b"a" * 32, b"b" * 32
OTHER: Final = (b"\0\0\x01\x03\0\0", b"abc")


def accept(_: bytes) -> None:
    pass


@both
@pytest.mark.parametrize("with_cipher", [python, native])
def test_sealed_shares_are_judged_however_they_come_and_what_follows_is_left(
    forms: Chosen, with_cipher: Chosen
) -> None:
    house, sender = House(forms(), target=ALL), PythonCipher(Session(b"", None, A, B), accept)
    cipher = with_cipher().cipher(Session(b"", None, B, A), accept)
    unknown = frame(job=9)
    assert house.take(cipher, sender.send(*OTHER)) == [OTHER]
    for nonce in range(3):
        assert house.take(cipher, sender.send(*frame(nonce=nonce))) == []
    assert house.take(cipher, sender.send(*unknown)) == [unknown]
    whole = sender.send_many([frame(nonce=3), frame(nonce=4), OTHER, frame(nonce=5)])
    assert house.take(cipher, whole[:100]) == []
    assert house.take(cipher, whole[100:]) == [OTHER, frame(nonce=5)]
    assert house.take(cipher, sender.send(*frame(nonce=6, size=15))) == [frame(nonce=6, size=15)]
    assert house.take(cipher, sender.send(OTHER[0][:3] + HEADER[3:], frame()[1])) == [
        (OTHER[0][:3] + HEADER[3:], frame()[1])
    ]
    assert [entry[0] for entry in house.entries] == [proof(nonce)[1] for nonce in range(5)]


@both
def test_a_share_that_does_not_authenticate_is_not_judged(forms: Chosen) -> None:
    for place in (0, 5, 30, 78):
        house, sender = House(forms()), PythonCipher(Session(b"", None, A, B), accept)
        cipher = forms().cipher(Session(b"", None, B, A), accept)
        assert house.take(cipher, sender.send(*frame(nonce=1))) == []
        sealed = bytearray(sender.send(*frame(nonce=2)))
        sealed[place] ^= 1
        with pytest.raises(FrameForged):
            house.take(cipher, bytes(sealed))
        with pytest.raises(FrameForged):
            house.take(cipher, sender.send(*frame(nonce=3)))
        assert len(house.entries) == 1


@both
def test_a_limit_is_asked_about_the_first_share_and_what_it_raises_passes_through(forms: Chosen) -> None:
    asked: list[bytes] = []

    def limit(header: bytes) -> None:
        asked.append(header)
        if header != HEADER:
            raise KeyError("refused")

    house, sender = House(forms()), PythonCipher(Session(b"", None, A, B), accept)
    cipher = forms().cipher(Session(b"", None, B, A), limit)
    for nonce in range(3):
        assert house.take(cipher, sender.send(*frame(nonce=nonce))) == []
    assert asked == [HEADER]
    with pytest.raises(KeyError):
        house.take(cipher, sender.send(*OTHER))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(
            frame,
            channel=st.sampled_from([7, 7, 7, 8]),
            sequence=st.integers(0, (1 << 32) - 1),
            nonce=st.integers(0, (1 << 32) - 1),
            ntime=st.integers(NOW - 510, NOW + 5),
            version=st.sampled_from([VERSION, VERSION | 0x2000, VERSION | 2]),
            extranonce=st.binary(min_size=16, max_size=16),
        ),
        max_size=8,
    ),
    st.integers(0, 8),
)
def test_both_come_to_the_same(frames: list[Any], start: int) -> None:
    told = []
    for forms in (python(), native()):
        house = House(forms, target=ALL // 2, block_target=ALL // 16, whole=0, threshold=1 << 63)
        place = house.judge(*frames, start=min(start, len(frames)))
        judged = [share[1:] for share in house.judged]
        told.append((place, judged, house.entries, house.low, house.pace.tokens))
    assert told[0] == told[1]


def test_the_native_judge_refuses_what_would_crash_it() -> None:
    forms = native()
    good: Any = House(forms).bench
    for bench in (
        good._replace(prover=python().prover(b"", b"", (), bytes(32), 0)),
        good._replace(prefix=bytes(33)),
        good._replace(target=1 << 256),
        good._replace(threshold=1 << 64),
        good._replace(version=-1),
        good[:-1],
    ):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            forms.bench(bench)
    lists: Any = ([], [], [])
    odd: Any = forms.judge
    calls: tuple[tuple[Any, ...], ...] = (
        (),
        ({}, [], 0, (NOW, 1.0), ((), [], [])),
        ({}, 5, 0, (NOW, 1.0), lists),
        ({7 << 32 | 3: "a string"}, [frame()], 0, (NOW, 1.0), lists),
        ({7 << 32 | 3: forms.bench(good._replace(pace=None))}, [frame()], 0, (NOW, 1.0), lists),
        ({7 << 32 | 3: forms.bench(good._replace(seen=None))}, [frame()], 0, (NOW, 1.0), lists),
        ({}, [], 0, ("now", 1.0), lists),
        ({}, [], -1, (NOW, 1.0), lists),
    )
    for arguments in calls:
        with pytest.raises((TypeError, AttributeError, ValueError)):
            odd(*arguments)
    no_cipher: Any = object()
    for arguments in (
        (),
        (no_cipher, b"", {}, (NOW, 1.0), lists),
        (type("Odd", (), {"receive": lambda *_: 5})(), b"", {}, (NOW, 1.0), lists),
        (forms.cipher(Session(b"", None, B, A), accept), None, {}, (NOW, 1.0), lists),
        (forms.cipher(Session(b"", None, B, A), accept), b"", [], (NOW, 1.0), lists),
        (forms.cipher(Session(b"", None, B, A), accept), b"", {}, (NOW,), lists),
        (forms.cipher(Session(b"", None, B, A), accept), b"", {}, (NOW, 1.0), lists[:2]),
    ):
        odd_take: Any = forms.take
        with pytest.raises((TypeError, AttributeError)):
            odd_take(*arguments)
    for strange in (5, (b"",), ("x", "y"), (b"abc", frame()[1])):
        assert odd({}, [strange], 0, (NOW, 1.0), lists) == 0


def test_the_native_judge_keeps_no_references() -> None:
    house = House(native())
    parts = house.member, house.pace, KEY, house.bench.target, house.bench.work
    before = [sys.getrefcount(part) for part in parts]
    house.seen.clear()
    for nonce in range(1000):
        house.judge(frame(nonce=nonce), frame(job=5), moment=10.0 + nonce)
    assert len(house.entries) == 1000
    house.judged.clear()
    entry = house.entries[0]
    assert sys.getrefcount(entry) == 3
    house.entries.clear()
    assert sys.getrefcount(entry) == 2
    house.seen.clear()
    share_hash = entry[0]
    assert sys.getrefcount(share_hash) == 3
    del entry
    assert sys.getrefcount(share_hash) == 2
    assert [sys.getrefcount(part) for part in parts] == before
