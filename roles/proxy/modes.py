"""The proxy's two ways upstream: one channel there for each channel here, or one for all."""

from collections.abc import Callable, Collection
from typing import Final, Protocol

from protocols.sv2.mining import OpenExtendedMiningChannel
from roles.proxy.aggregate import Aggregate
from roles.proxy.attribution import Attribution
from roles.proxy.channel import EdgeChannel
from roles.proxy.channel_kinds import GROUP_ID, ExtendedEdgeChannel, StandardEdgeChannel
from roles.proxy.downstream_channel import DownstreamChannel, Edge, Line, OpenRequest
from roles.proxy.fanout import Fanout
from roles.proxy.lane_channel import LaneChannel
from roles.proxy.member import ExtendedMember, StandardMember
from roles.stratum.errors import ChannelsFull


class Berth(Protocol):
    """Where the channels of one connection are opened."""

    def open(
        self, request: OpenRequest, *, channel_id: int, extranonce_slice: bytes, attribution: Attribution
    ) -> DownstreamChannel:
        """A channel that is about to be answered; raises ChannelsFull."""

    def addressed(self, group_id: int) -> Collection[DownstreamChannel] | None:
        """The channels of the group with this id; None for all of the connection."""

    def end(self) -> None:
        """The connection is gone."""


Mode = Callable[[Line, Callable[[], int]], Berth]
"""The berth of a line; the second is for ids that no channel of it has."""


class Ended:
    """Takes the place of a line's berth when the line is gone, so that the two do not keep each other."""

    def open(self, request: OpenRequest, **_: object) -> DownstreamChannel:  # noqa: ARG002
        """There is nobody to open a channel for; raises ChannelsFull."""
        raise ChannelsFull("the connection has ended")

    def addressed(self, group_id: int) -> Collection[DownstreamChannel]:  # noqa: ARG002
        """There are none."""
        return ()

    def end(self) -> None:
        """It has ended."""


ENDED: Final = Ended()


class PerMiner:
    """Every channel has an upstream one of its own."""

    def __init__(self, edge: Edge, line: Line) -> None:
        self._edge = edge
        self._line = line

    def open(
        self, request: OpenRequest, *, channel_id: int, extranonce_slice: bytes, attribution: Attribution
    ) -> DownstreamChannel:
        """A channel that waits for its upstream one; raises ChannelsFull."""
        kind: type[EdgeChannel] = StandardEdgeChannel
        if isinstance(request, OpenExtendedMiningChannel):
            kind = ExtendedEdgeChannel if self._edge.relay is None else LaneChannel
        return kind(
            request,
            channel_id=channel_id,
            extranonce_slice=extranonce_slice,
            attribution=attribution,
            edge=self._edge,
            line=self._line,
        )

    def addressed(self, group_id: int) -> Collection[DownstreamChannel] | None:
        """All are of one group."""
        return None if group_id == GROUP_ID else ()

    def end(self) -> None:
        """Channels end by themselves."""


class Aggregated:
    """All channels share the aggregate's."""

    def __init__(self, aggregate: Aggregate, line: Line, new_id: Callable[[], int]) -> None:
        self._aggregate = aggregate
        self._line = line
        self._fanout = Fanout(aggregate, line, first_id=GROUP_ID, new_id=new_id)

    def open(
        self, request: OpenRequest, *, channel_id: int, extranonce_slice: bytes, attribution: Attribution
    ) -> DownstreamChannel:
        """A channel that is answered as soon as the upstream one is open; raises ChannelsFull."""
        kind = ExtendedMember if isinstance(request, OpenExtendedMiningChannel) else StandardMember
        member = kind(
            request,
            channel_id=channel_id,
            extranonce_slice=extranonce_slice,
            attribution=attribution,
            aggregate=self._aggregate,
            line=self._line,
        )
        self._aggregate.join(member, self._fanout)
        return member

    def addressed(self, group_id: int) -> Collection[DownstreamChannel]:
        """Those of one size, or the standard ones."""
        return self._fanout.addressed(group_id)

    def end(self) -> None:
        """No work goes to this line any more."""
        self._aggregate.leave_line(self._fanout)
