"""What only lanes in C can get wrong: memory, references, the table of channels, wrong arguments."""

import gc
import random
import sys
import weakref
from typing import Any

import pytest

from protocols.noise.frame_cipher import PythonCipher
from protocols.noise.handshake import Session
from protocols.sv2.share_frame import SUCCESS, pack_success, share_frame, write_share
from tests.native_kernel import native_cipher, native_kernel

A, B = b"a" * 32, b"b" * 32
EVERY = (1 << 256) - 1
PACING = (1e6, 0.0, 1.0, 1e6)
Shares = list[tuple[bytes, bytes]]


@pytest.fixture(autouse=True)
def _kernel() -> None:
    native_kernel()


class Owner:
    """Whoever has lanes."""

    def __init__(self) -> None:
        from hashpool_kernel import Lanes

        self.lanes = Lanes(self)


class Bench:
    """Two connections, and channels between them whose ids above are 1,000 more."""

    def __init__(self, target: int = EVERY, work: int = 16) -> None:
        from hashpool_kernel import Course, Prover

        prover = Prover(b"p" * 78, b"s" * 110, (b"n" * 32,) * 3, bytes(32), 1)
        self.course = Course(prover, min_ntime=10, version=4, fixed=0xFF, target=target, work=work)
        self.down, self.up = Owner(), Owner()
        self.sequence = 0

    def lane(self, number: int, **options: Any) -> Any:
        from hashpool_kernel import Lane

        lane = Lane(self, number)
        above = ("upstream", number + 1_000, options.get("next", 1), options.get("limit", 1_000))
        lane.lend(
            self.down.lanes, self.up.lanes, above, options.get("pacing", PACING), options.get("seen", {})
        )
        lane.assign(3, 7, self.course, (b"\xaa\xbb\xcc\xdd", 2, 8), 0)
        return lane

    def take(self, frames: Shares, now: float = 1.0) -> tuple[int, Any, Any]:
        return self.down.lanes.take(frames, 0, 20, now)

    def settle(self, *answers: tuple[int, int, int], now: float = 2.0) -> tuple[int, int, Any]:
        frames = [(SUCCESS, pack_success(*answer, 0)) for answer in answers]
        return self.up.lanes.settle(frames, 0, now)


def share(number: int, sequence: int, salt: int = 0, **fields: int) -> tuple[bytes, bytes]:
    job, ntime, version = fields.get("job", 3), fields.get("ntime", 15), fields.get("version", 4)
    return write_share((number, sequence, job, salt or sequence, ntime, version), bytes(8))


def opened(owner: Owner) -> Shares:
    """What lanes have to say, as whoever it is said to hears it."""
    cipher = native_cipher(Session(b"", None, A, B), lambda _: None)
    return PythonCipher(Session(b"", None, B, A), lambda _: None).receive(owner.lanes.seal(cipher))


def test_a_share_goes_up_in_the_upstreams_numbers_and_its_success_comes_down() -> None:
    bench = Bench()
    lane = bench.lane(5, next=0xFFFFFFFF)
    end, best, above = bench.take([share(5, 77), share(5, 78)])
    assert (end, above) == (2, (bench.up,))
    assert best is not None
    expected = [
        write_share((1_005, number, 7, salt, 15, 4), b"\xcc\xdd" + bytes(8))
        for number, salt in ((0xFFFFFFFF, 77), (0, 78))
    ]
    assert opened(bench.up) == expected
    assert opened(bench.up) == []
    assert bench.up.lanes.oldest == 1.0
    assert bench.settle((1_005, 0, 2), now=3.0) == (1, 2, (bench.down,))
    assert opened(bench.down) == [(SUCCESS, pack_success(5, 78, 2, 0))]
    assert bench.down.lanes.sums() == ([2.0, 2.0], 32.0, 512.0, ())
    assert bench.down.lanes.sums() == ([], 0.0, 0.0, ())
    credits, found_at, lowest = lane.journal()
    assert (credits, found_at, lowest) == (((16.0, 3.0), (16.0, 3.0)), 1.0, best)
    assert lane.journal() is None
    following, waiting, seen, (tokens, when) = lane.give_back()
    assert (following, waiting, len(seen), tokens, when) == (1, [], 2, 1e6 - 2, 1.0)
    assert not lane.is_lent


def test_what_waits_is_given_back_with_its_frame() -> None:
    bench = Bench()
    lane = bench.lane(5)
    bench.take([share(5, 70), share(5, 71)], now=4.0)
    sent = opened(bench.up)
    bench.settle((1_005, 1, 1))
    following, waiting, seen, _ = lane.give_back()
    assert following == 3
    ((number, since, sequence, share_hash, target, payload),) = waiting
    assert (number, since, sequence, target, share_frame(payload)) == (2, 4.0, 71, EVERY, sent[1])
    assert list(seen)[1] == share_hash
    assert bench.up.lanes.oldest is None
    assert len(bench.up.lanes) == len(bench.down.lanes) == 0


@pytest.mark.parametrize(
    "frame",
    [
        share(6, 1),
        share(5, 1, job=4),
        share(5, 1, ntime=9),
        share(5, 1, ntime=21),
        share(5, 1, version=5),
        write_share((5, 1, 3, 1, 15, 4), bytes(7)),
        (share(5, 1)[0], share(5, 1)[1] + b"\x01"),
        (share(5, 1)[0], share(5, 1)[1][:20]),
        (b"\x00\x80\x1a" + share(5, 1)[0][3:], share(5, 1)[1]),
        (share(5, 1)[0], "text"),
        ["no", "tuple"],
        (b"", b"", b""),
    ],
)
def test_whatever_is_not_plain_is_left_in_its_place(frame: Any) -> None:
    bench = Bench()
    bench.lane(5)
    assert bench.take([share(5, 1), frame, share(5, 2)])[0] == 1


def test_what_is_above_the_target_or_repeated_or_too_much_is_left() -> None:
    low = Bench(target=1)
    low.lane(5)
    assert low.take([share(5, 1)])[0] == 0
    bench = Bench()
    bench.lane(5, limit=2)
    assert bench.take([share(5, 1), share(5, 2, salt=1)])[0] == 1
    assert bench.take([share(5, 2), share(5, 3)])[0] == 1
    slow = Bench()
    slow.lane(5, pacing=(1.0, 1.0, 1.0, 2.0))
    assert slow.take([share(5, 1), share(5, 2)], now=1.0)[0] == 1
    assert slow.take([share(5, 3), share(5, 4), share(5, 5)], now=9.0)[0] == 2


@pytest.mark.parametrize("answer", [(1_005, 2, 1), (1_005, 2, 3), (1_005, 3, 3), (1_005, 1, 0), (5, 1, 1)])
def test_an_answer_that_is_not_for_the_oldest_shares_is_left(answer: tuple[int, int, int]) -> None:
    bench = Bench()
    bench.lane(5)
    bench.take([share(5, 1), share(5, 2)])
    assert bench.settle((1_005, 1, 1), answer)[:2] == (2, 2) or bench.settle(answer)[:2] == (0, 0)
    assert bench.down.lanes.sums()[0] in ([1.0], [1.0, 1.0])


def test_answers_of_ten_leave_first_and_a_full_journal_is_told_of() -> None:
    bench = Bench(work=1 << 63)
    lane, other = bench.lane(5), bench.lane(6)
    bench.take([share(5 + number % 2, number) for number in range(80)])
    assert bench.settle((1_005, 3, 3), (1_006, 4, 4), (1_005, 12, 9))[:2] == (3, 16)
    total = (10 << 63) * 0xFFFF >> 48
    whole, tail, rest = opened(bench.down)
    assert whole == (SUCCESS, pack_success(5, 18, 10, min(total, (1 << 64) - 1)))
    assert [tail, rest] == [
        (SUCCESS, pack_success(5, 22, 2, (2 << 63) * 0xFFFF >> 48)),
        (SUCCESS, pack_success(6, 7, 4, (4 << 63) * 0xFFFF >> 48)),
    ]
    assert bench.down.lanes.sums()[3] == ()
    assert bench.settle((1_005, 22, 10))[:2] == (1, 10)
    assert bench.down.lanes.sums()[3] == [bench]
    # There is room for ten more, and then for none until somebody has read it.
    assert bench.settle((1_005, 33, 11))[:2] == (0, 0)
    assert bench.settle((1_005, 32, 10))[:2] == (1, 10)
    assert bench.settle((1_005, 33, 1))[:2] == (0, 0)
    assert len(lane.journal()[0]) == 32
    assert bench.settle((1_005, 33, 1))[:2] == (1, 1)
    assert len(other.journal()[0]) == 4


def test_a_new_tip_forgets_hashes_and_takes_nothing_until_there_is_a_job() -> None:
    bench = Bench()
    lane = bench.lane(5, seen={bytes(32): None})
    assert bench.take([share(5, 1)])[0] == 1
    lane.turn()
    assert bench.take([share(5, 1)])[0] == 0
    lane.assign(3, 7, bench.course, (b"", 0, 8), 0)
    assert bench.take([share(5, 1)])[0] == 1
    assert bench.settle((1_005, 2, 2))[:2] == (1, 2)
    assert len(lane.give_back()[2]) == 1


def test_shares_for_the_newest_job_and_for_the_one_before_it_that_miners_had_pass() -> None:
    bench = Bench()
    lane = bench.lane(5)

    def assign(job: int, origin: int, age: int = 0) -> None:
        lane.assign(job, origin, bench.course, (b"", 0, 8), age)

    def passes() -> list[int]:
        jobs = range(2, 300)
        bench.sequence += 300
        return [job for job in jobs if bench.take([share(5, bench.sequence + job, job=job)])[0]]

    assert (lane.has(3), lane.has(4)) == (True, False)
    assign(4, 8)
    assert passes() == [3, 4]
    assign(4, 9)
    assign(2, 9, 2)
    assert passes() == [2, 4]
    assign(5, 9)
    assert passes() == [4, 5]
    assign(6, 9)
    assign(7, 9)
    # Nobody has had a share for the sixth.
    assert passes() == [5, 7]
    assert [payload[8] for _, payload in opened(bench.up)] == [7, 8, *[9] * 6]
    for job in range(8, 264):
        assign(job, 9)
        assert lane.has(7)
    assign(264, 9)
    assert (lane.has(7), lane.has(264)) == (False, True)
    lane.turn()
    assert passes() == []
    assign(2, 9, 1)
    assert passes() == [2]
    lane.give_back()
    assert not lane.has(2)


def test_upstream_channels_that_wait_too_long_are_named_once() -> None:
    bench = Bench()
    for number in range(3):
        bench.lane(number)
    bench.take([share(0, 1), share(0, 2), share(1, 1)], now=1.0)
    bench.take([share(2, 1)], now=2.0)
    assert bench.up.lanes.overdue(1.0) == []
    assert len(bench.up.lanes.overdue(2.0)) == 2
    assert bench.settle((1_000, 2, 2), (1_001, 1, 1))[:2] == (2, 3)
    assert bench.up.lanes.oldest == 2.0


def test_channels_come_and_go_without_one_being_taken_for_another() -> None:
    chance = random.Random(5)
    bench = Bench()
    lanes: dict[int, Any] = {}
    for step in range(2_000):
        number = chance.choice([chance.randrange(40), chance.randrange(40) << 6])
        if number in lanes and chance.random() < 0.5:
            lanes.pop(number).give_back()
        elif number not in lanes:
            lanes[number] = bench.lane(number)
        asked = chance.choice([number, chance.randrange(40)])
        assert bench.take([share(asked, step)])[0] == (asked in lanes)
        bench.up.lanes.discard()
    assert len(bench.down.lanes) == len(bench.up.lanes) == len(lanes)


def test_two_channels_of_one_id_are_refused() -> None:
    bench = Bench()
    bench.lane(5)
    with pytest.raises(ValueError, match="has a lane"):
        bench.lane(5)
    assert len(bench.down.lanes) == len(bench.up.lanes) == 1


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("lend", (), TypeError),
        ("lend", (None, None, (), (), {}), TypeError),
        ("assign", (1, 2, None, (b"", 0, 0), 0), ValueError),
        ("assign", (1, 2, "course", (b"", 0), 0), TypeError),
        ("assign", (1, 2, "course", b"", 0), TypeError),
        ("assign", (1, 2, "course", (b"", 0, 0), None), TypeError),
        ("has", ("1",), TypeError),
        ("assign", (1, 2, "course", (bytes(33), 0, 0), 0), ValueError),
        ("assign", (1, 2, "course", (b"", 1, 0), 0), ValueError),
        ("assign", (1, 2, "course", (bytes(20), 0, 13), 0), ValueError),
        ("assign", (1 << 32, 2, "course", (b"", 0, 0), 0), OverflowError),
        ("give_back", (), RuntimeError),
    ],
)
def test_a_lane_refuses_what_is_none_of_its_own(
    method: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    from hashpool_kernel import Lane

    course = Bench().course
    given = [course if each == "course" else each for each in arguments]
    with pytest.raises(error):
        getattr(Lane(None, 1), method)(*given)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("take", ([], 0, 1)),
        ("take", (None, 0, 1, 1.0)),
        ("take", ([], "0", 1, 1.0)),
        ("take", ([], 0, "1", 1.0)),
        ("settle", ([], 0, None)),
        ("seal", (None,)),
        ("overdue", ("now",)),
    ],
)
def test_lanes_refuse_what_is_no_batch(method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        getattr(Owner().lanes, method)(*arguments)
    with pytest.raises(ValueError, match="negative"):
        Owner().lanes.take([], -1, 1, 1.0)


def test_a_course_is_made_of_this_kernels_prover() -> None:
    from hashpool_kernel import Course

    none: Any = None
    with pytest.raises(TypeError):
        Course(none, min_ntime=1, version=1, fixed=1, target=1, work=1)


def test_a_forgotten_bench_is_collected_whatever_waits() -> None:
    bench = Bench()
    kept = bench.lane(5)
    bench.lane(6)
    bench.take([share(5, 1), share(6, 1)])
    gone = weakref.ref(bench)
    del bench, kept
    gc.collect()
    assert gone() is None


def exercise() -> None:
    """Every way through lanes that allocates."""
    bench = Bench()
    lane = bench.lane(5, seen={bytes([number]) * 32: None for number in range(20)})
    bench.lane(6)
    bench.take([share(5 + number % 2, number) for number in range(30)])
    opened(bench.up)
    bench.settle((1_005, 12, 12), (1_006, 9, 9))
    opened(bench.down)
    bench.down.lanes.sums()
    bench.up.lanes.overdue(9.0)
    lane.journal()
    lane.give_back()
    with pytest.raises(ValueError, match="has a lane"):
        bench.lane(6)


def test_nothing_is_left_behind() -> None:
    for _ in range(200):
        # The interpreter's own stores fill meanwhile.
        exercise()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(400):
        exercise()
    gc.collect()
    assert sys.getallocatedblocks() - before < 300
