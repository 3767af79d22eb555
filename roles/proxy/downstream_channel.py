"""A channel as its miner knows it: whose its work is, how fast shares may come, what has been answered."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from protocols.mining.errors import TooManyShares
from protocols.mining.lane import Lanes, Relay
from protocols.sv2.frame import Frame
from protocols.sv2.mining import (
    OpenExtendedMiningChannel,
    OpenStandardMiningChannel,
    SubmitSharesExtended,
    SubmitSharesStandard,
    UpdateChannel,
)
from protocols.sv2.share_frame import ExtendedShare
from protocols.sv2.tlv import Tlv
from roles.proxy.attribution import Attribution
from roles.proxy.figures import Figures
from roles.proxy.meters import Meters
from roles.proxy.pools_mint import PoolsMint
from roles.proxy.verdicts import Hearer, Verdicts
from roles.stratum.mining_client import MiningClient
from roles.stratum.pace import Pace
from roles.stratum.tally import Tally

BURST_S = 10.0
"""Seconds over which rates of shares count."""

Share = SubmitSharesStandard | SubmitSharesExtended
OpenRequest = OpenStandardMiningChannel | OpenExtendedMiningChannel


class Line(Hearer, Protocol):
    """What a channel needs of its miner's connection."""

    @property
    def extensions(self) -> frozenset[int]:
        """The extensions that the miner's connection has."""

    def send_frames(self, frames: Iterable[Frame]) -> None:
        """Send messages that have been encoded, likewise."""

    def release(self, channel: "DownstreamChannel", reason: str) -> None:
        """The channel is given up for good: tell the miner and forget it."""


@dataclass(slots=True)
class Edge:
    """What all channels of the proxy share; `clock` is Unix time in seconds, `hold_s` None for ever.

    `mint` hears of the pool's mint and of quotes there. The times and rates may change while channels live.
    Plain shares pass through the lanes of a `relay`, if there is one.
    """

    client: MiningClient
    meters: Meters
    clock: Callable[[], float]
    hold_s: float | None
    mint: PoolsMint
    shares_per_s: float = 100.0
    """Of one channel, over `BURST_S`."""
    monotonic: Callable[[], float] = time.monotonic
    figures: Figures = field(default_factory=Figures)
    relay: Relay | None = None


class DownstreamChannel(ABC):
    """One channel of a miner, with a slice of the extranonce that is its own for life.

    `answered` is done when it is known whether the channel opens: with "" when it is open (the miner has its
    Success then, before anything else), with the code of the refusal when it is not. What only shares need is
    made with the first of them.
    """

    __slots__ = (
        "_answer", "_attribution", "_edge", "_line", "_pace", "_request", "_tally", "_verdicts",
        "channel_id", "extranonce_size", "slice",
    )  # fmt: skip

    kind: str

    def __init__(
        self,
        request: OpenRequest,
        *,
        channel_id: int,
        extranonce_slice: bytes,
        attribution: Attribution,
        edge: Edge,
        line: Line,
    ) -> None:
        self.channel_id = channel_id
        self.slice = extranonce_slice
        self.extranonce_size = 0
        self._answer: asyncio.Future[str] | str = asyncio.get_running_loop().create_future()
        self._request = request
        self._attribution = attribution
        self._edge = edge
        self._line = line
        self._tally: Tally
        self._verdicts: Verdicts | None = None
        self._pace: Pace | None = None

    @property
    def least_size(self) -> int:
        """The rollable bytes that the miner needs; on a standard channel nothing is rolled."""
        request = self._request
        return request.min_extranonce_size if isinstance(request, OpenExtendedMiningChannel) else 0

    @property
    def user(self) -> str:
        """The user identity as the miner gave it."""
        return self._request.user_identity

    @property
    def attribution(self) -> Attribution:
        """Whose its work is."""
        return self._attribution

    @property
    @abstractmethod
    def target(self) -> int:
        """What the miner has been told, 0 before anything."""

    @property
    def tally(self) -> Tally:
        """The miner's books."""
        self.read_journal()
        return self._tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._tally = tally

    @property
    def verdicts(self) -> Verdicts:
        """What the miner hears of its shares."""
        if self._verdicts is None:
            edge = self._edge
            self._verdicts = Verdicts(
                self.channel_id, self._line, edge.meters, self._tally, edge.figures.totals
            )
        return self._verdicts

    async def answered(self) -> str:
        """Wait for the first answer: nothing when the channel is open, else the code."""
        return self._answer if isinstance(self._answer, str) else await asyncio.shield(self._answer)

    def _say(self, code: str) -> None:
        if not isinstance(self._answer, str):
            self._answer.set_result(code)
            self._answer = code

    def admits(self, now: float) -> bool:
        """Whether a share comes no faster than the channel may submit; one that does not is owed nothing."""
        return (self._pace or self._new_pace(now)).admits(now)

    def _new_pace(self, now: float) -> Pace:
        pace = self._pace = Pace(self._edge.shares_per_s, self._edge.shares_per_s * BURST_S, now)
        return pace

    def lend(self, _job_id: int, _now: float, _lanes: Lanes) -> bool:
        """Have shares for a job pass without this object, if they do not already; False if they cannot."""
        return False

    def recall(self) -> None:  # noqa: B027
        """End that; there is nothing to end where shares are not lent."""

    def read_journal(self) -> None:  # noqa: B027
        """Bring the miner's books up to date, where something else writes them."""

    def take(self, _share: ExtendedShare, _clock: int, _now: float) -> bool:
        """The short way of a share that nothing is unusual about; False where there is none."""
        return False

    def earned(self, amount: int) -> None:
        """The mint has a quote for a share of this miner."""
        self._tally.ehash += amount
        self._edge.figures.totals.ehash += amount

    def refuses(self, share: Share, now: float) -> bool:
        """Whether the channel submits too fast, at `now` of the loop's clock; the share is answered then.

        With an error, and not by reading slower, because a connection may carry channels of many miners.
        """
        self.recall()
        if self.admits(now):
            return False
        self.verdicts.refused(share.sequence_number, TooManyShares.code, "edge")
        return True

    @abstractmethod
    def submit(self, share: Share, tlvs: tuple[Tlv, ...]) -> None:
        """Take a share; it is answered now or later."""

    @abstractmethod
    def update(self, message: UpdateChannel) -> None:
        """The miner has another hash rate and easiest target."""

    @abstractmethod
    def close(self, reason: str, *, silently: bool) -> None:
        """End for good; `silently` where the miner has gone or closed the channel."""
