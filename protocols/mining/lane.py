"""The interface of lanes: channels of a proxy whose plain shares pass without a Python object of theirs.

A lane is one downstream channel and its upstream one. It is lent what shares need: the next sequence number,
the pace, the hashes seen on the tip, the job. From then on a batch of frames goes up, and a batch of answers
comes down, in one call each. Whatever is unusual is left in its place among the frames, and whoever looks at
what was lent gives the lane back first. Only the native kernel has lanes; without it every share takes the
way that knows all cases.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from protocols.mining.prover import Prover
from protocols.noise.frame_cipher import FrameCipher

Plain = tuple[bytes, bytes]
"""A frame's 6 header bytes and its payload."""
Above = tuple[Any, int, int, int]
"""The upstream channel, its id, the number of its next share, and how many may wait."""
Pacing = tuple[float, float, float, float]
"""Tokens, since when (monotonic seconds), how many come a second, and how many there may be."""
Task = tuple[int, int, Any, tuple[bytes, int, int], int]
"""What `Lane.assign` takes."""
Returned = tuple[int, float, int, bytes, int, bytes]


class Lane(Protocol):
    """One channel; `is_lent` while its shares pass here."""

    @property
    def is_lent(self) -> bool:
        """Whether its shares pass here."""
        ...

    def lend(
        self, down: Any, up: Any, above: Above, pacing: Pacing, seen: dict[bytes, bytes | None], /
    ) -> None:
        """Have shares of the channel pass between the lanes of two connections."""
        ...

    def assign(
        self,
        job_id: int,
        origin: int,
        course: Any,
        extranonce: tuple[bytes, int, int],
        age: int,
        /,
    ) -> None:
        """Take shares for this job from now on, which is `origin` upstream, and before which the channel has
        had no newer one, or so many. Shares for the newest and for one other are taken: for the last that
        shares were for, or that was assigned.

        Of the extranonce: what stands before the bytes that the miner rolls, how much of that is the
        upstream's own, how many bytes are rolled.
        """
        ...

    def has(self, job_id: int, /) -> bool:
        """Whether shares for this job are taken."""
        ...

    def turn(self) -> None:
        """The tip has changed: take no shares until a job is assigned, and forget hashes."""
        ...

    def give_back(
        self,
    ) -> tuple[int, list[Returned], dict[bytes, bytes | None], tuple[float, float]]:
        """End the loan: the next number, the shares that wait, the hashes, tokens and since when.

        Of a share: its number upstream, since when it waits, its number here, its hash, the target of its
        job, and the payload that went up.
        """
        ...

    def journal(self) -> tuple[tuple[tuple[float, float], ...], float, bytes] | None:
        """What is not in the books yet, and is forgotten here: expected hashes and time of accepted shares,
        when the last share was found (0 for none), the best hash. None if there is nothing.
        """
        ...


class Lanes(Protocol):
    """The lanes of one connection; times in monotonic seconds.

    `outlet` sends the shares that go up, where it is set and nothing waits in front of them.
    """

    outlet: Any

    def __len__(self) -> int:
        """How many there are."""
        ...

    @property
    def oldest(self) -> float | None:
        """Since when the oldest share waits for this upstream."""
        ...

    def take(
        self, frames: Sequence[Plain], start: int, clock: int, now: float, /
    ) -> tuple[int, bytes | None, tuple[Any, ...]]:
        """Pass shares on from a place on up to a frame that is none of a lane.

        Returns the place of that frame, the hash of the best share if there was no better one before, and the
        owners of the lanes upstream that have something to send still.
        """
        ...

    def settle(self, frames: Sequence[Plain], start: int, now: float, /) -> tuple[int, int, tuple[Any, ...]]:
        """Pass successes on, likewise.

        Returns the place, how many shares were accepted, and the owners of the lanes downstream that have
        something to send.
        """
        ...

    def seal(self, cipher: FrameCipher, /) -> bytes:
        """Everything that is to be sent, which is forgotten here."""
        ...

    def discard(self) -> None:
        """There is nobody to send it to."""
        ...

    def sums(self) -> tuple[list[float], float, float, Sequence[Any]]:
        """Of shares accepted since this was last asked: seconds each waited, expected hashes, sum of their
        squares; and the owners of lanes whose journal should be read.
        """
        ...

    def found(self) -> tuple[float, bytes | None]:
        """Of shares that were read natively: when the last came, 0 for none, and the hash of the best if
        nobody was told of a better one.
        """
        ...

    def limit(self, tokens: float, when: float, rate: float, burst: float, /) -> None:
        """How many shares there may be of all lanes, and how many more come a second up to how many."""
        ...

    def pay(self, now: float, shares: int = 1, /) -> float:
        """Take shares of that, and return how long to wait for the next one in seconds, 0 as a rule."""
        ...

    def overdue(self, before: float, /) -> list[Any]:
        """The upstream channels with shares that wait since before a time."""
        ...


class LaneMaker(Protocol):
    """The lane of an owner's channel."""

    def __call__(self, owner: Any, channel_id: int) -> Lane:
        """Not lent yet."""
        ...


class LanesMaker(Protocol):
    """The lanes of an owner's connection."""

    def __call__(self, owner: Any) -> Lanes:
        """None yet."""
        ...


class CourseMaker(Protocol):
    """What shares for one job are judged by, for all lanes that have the same."""

    def __call__(
        self, prover: Prover, *, min_ntime: int, version: int, fixed: int, target: int, work: int
    ) -> Any:
        """Version bits in `fixed` must be those of `version`; `work`, in expected hashes, fits 64 bits."""
        ...


class Relay(NamedTuple):
    """What a kernel has for it."""

    lane: LaneMaker
    lanes: LanesMaker
    course: CourseMaker
