"""Python that runs while C has its objects in hand, and takes them away: nothing that is gone is looked at.

That an object is gone shows with the sanitizers (docs/native-kernel.md); without them most of it goes unseen.
"""

import gc
from typing import Any

import pytest

from protocols.mining.plain_share import PLAIN
from protocols.mining.share import SeenShares
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv2.share_frame import SHARE, success
from protocols.translation.share import JudgedShare, find_plain
from tests.native.test_hub import MASK, NOW, OWN, Hall, line
from tests.native.test_lanes import Bench as Lent
from tests.native.test_lanes import opened, share
from tests.native.test_outlet import Way
from tests.native_kernel import native_kernel

PLAIN_HEADER = SHARE + PLAIN.size.to_bytes(3, "little")


@pytest.fixture(autouse=True)
def _kernel() -> None:
    native_kernel()


class Pace:
    """A bucket that does something when it is looked at."""

    when, rate, burst = 0.0, 1.0, 10.0

    def __init__(self, act: Any) -> None:
        self._act = act
        self._tokens = 10.0

    @property
    def tokens(self) -> float:
        self._act()
        return self._tokens

    @tokens.setter
    def tokens(self, tokens: float) -> None:
        self._tokens = tokens


def plain(number: int) -> tuple[bytes, bytes]:
    return PLAIN_HEADER, PLAIN.pack(7, number, 9, number, 15, 4, 16, bytes([number]) * 16)


def bench(pace: Any, seen: SeenShares | None = None) -> Any:
    from hashpool_kernel import Bench, Prover

    prover = Prover(b"p" * 78, b"s" * 110, (b"n" * 32,) * 3, bytes(32), 1)
    every, seen = (1 << 256) - 1, SeenShares() if seen is None else seen
    return Bench(("member", pace, seen, prover, b"\1", 10, 4, 0xFF, every, 0, 3, 0, 16, b"key"))


def test_a_share_is_judged_by_its_bench_even_if_that_is_forgotten_meanwhile() -> None:
    frames = [plain(1), plain(2)]
    known: dict[int, Any] = {}
    junk: list[bytes] = []

    def forget() -> None:
        known.clear()
        frames.clear()
        gc.collect()
        junk.extend(bytes([number]) * PLAIN.size for number in range(100))

    known[7 << 32 | 9] = bench(Pace(forget))
    judged: list[Any] = []
    entries: list[Any] = []
    from hashpool_kernel import judge

    assert judge(known, frames, 0, (20.0, 1.0), (judged, entries, [])) == 1
    (verdict,) = judged
    other = bench(Pace(lambda: None))
    again: list[Any] = []
    assert judge({7 << 32 | 9: other}, [plain(1)], 0, (20.0, 1.0), (again, [], [])) == 1
    assert verdict[:3] == again[0][:3]


def test_an_attribute_is_read_by_its_place_only_where_the_class_has_that_place() -> None:
    class Wide:
        __slots__ = ("a", "b", "c", "d", "e", "f", "tokens", "work")

    class Thin:
        """It has the other class's descriptors, which are none of its own objects'."""

        __slots__ = ()
        tokens: Any = vars(Wide)["tokens"]
        work: Any = vars(Wide)["work"]
        when, rate, burst = 0.0, 1.0, 10.0

    from hashpool_kernel import judge

    found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    with pytest.raises(TypeError, match="descriptor"):
        judge({7 << 32 | 9: bench(Thin())}, [plain(1)], 0, (20.0, 1.0), found)
    from hashpool_kernel import Finder

    finder: Any = Finder(PlainSubmit, JudgedShare)
    with pytest.raises(TypeError, match="descriptor"):
        finder.find(line(1, 1).strip(), {"1f": Thin()}, OWN, MASK, NOW)


def test_lanes_may_be_given_another_outlet_by_who_tells_what_is_unsent(way: Way) -> None:
    bench = Lent()
    bench.lane(5)
    lanes = bench.up.lanes

    class Unsent:
        def __call__(self) -> int:
            lanes.outlet = None
            way.rest.clear()
            return 0

    maker: Any = native_kernel().outlet
    lanes.outlet = maker(way.cipher, way.near.fileno(), Unsent(), way.rest.append)
    assert bench.take([share(5, 1)])[::2] == (1, ())
    assert len(way.heard()) == 1
    assert bench.take([share(5, 2)])[::2] == (1, (bench.up,))


def test_who_is_called_for_one_side_may_let_go_of_the_others(way: Way) -> None:
    bench = Lent()
    first = bench.lane(5)
    other = Lent()
    other.down = bench.down
    second = other.lane(6)
    gone: list[Any] = []

    def unsent() -> int:
        if not gone:
            gone.append(second.give_back()[0])
            second_up.clear()
            gc.collect()
        return 0

    second_up = [other.up]
    del other.up
    maker: Any = native_kernel().outlet
    bench.up.lanes.outlet = maker(way.cipher, way.near.fileno(), unsent, way.rest.append)
    end, _, owners = bench.take([share(5, 1), share(6, 1)])
    assert (end, gone, len(owners)) == (2, [2], 1)
    assert len(opened(owners[0])) == 1
    assert first.is_lent


def test_a_seat_may_be_left_while_its_shares_are_accepted(hall: Hall) -> None:
    owner = hall.owner()
    owner.mine.send(line(1, 1) + line(2, 2) + line(3, 3))
    assert hall.look()[2] == 3
    found = find_plain(line(1, 1).strip(), owner.jobs, OWN, MASK, NOW)
    assert found is not None
    share_hash, left = found[1].share_hash, list[Any]()

    class Same:
        """A key that the dictionary takes for the hash of the first share."""

        def __hash__(self) -> int:
            return hash(share_hash)

        def __eq__(self, other: object) -> bool:
            if not left:
                left.append(owner.seat.leave())
            return False

    del owner.seen[share_hash]
    odd: Any = Same()
    owner.seen[odd] = False
    place, shares, work, squares, _, _ = hall.hub.settle([success(1, 3, 3, 1)], 0, 1.0)
    assert (place, shares, work, squares) == (1, 1, 16.0, 256.0)
    assert [number for _, _, number, *_ in left[0][4]] == [2, 3]
    assert owner.said == [b'{"id":1,"result":true,"error":null}\n']


def test_work_that_does_not_fit_is_refused_by_a_course() -> None:
    wrongs: list[tuple[Any, type[Exception]]] = [
        (1 << 64, OverflowError),
        (-1, OverflowError),
        ("16", TypeError),
    ]
    for wrong, error in wrongs:
        with pytest.raises(error):
            Lent(work=wrong)
    most = Lent(work=(1 << 64) - 1)
    most.lane(5)
    most.take([share(5, 1)])
    most.settle((1_005, 1, 1))
    assert most.down.lanes.sums()[1] == float((1 << 64) - 1)
