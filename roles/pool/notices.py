"""Tells miners what the mint did with their shares, where they asked to be told."""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from protocols.ehash.errors import CreditCode
from protocols.ehash.messages import CreditRefused, QuoteNotice
from protocols.ehash.shift import Unit
from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from roles.pool.meters import Meters
from roles.runtime import crash

MAX_ROUTES = 100_000


class Recipient(Protocol):
    """A connection that has negotiated the extension."""

    def tell(self, frames: Sequence[Frame]) -> None:
        """Send frames if the connection still lives."""
        ...


class Route(NamedTuple):
    """Where a share came from."""

    recipient: Recipient
    channel_id: int
    sequence_number: int


class CreditedRow(Protocol):
    """What is told of a row of the ledger."""

    @property
    def seq(self) -> int: ...
    @property
    def shift(self) -> int: ...
    @property
    def share_hash(self) -> bytes: ...
    @property
    def amount(self) -> int: ...


class Notices:
    """Remembers where the rows came from that the mint has not settled; forgets the oldest of 100,000.

    What is forgotten is found by key.
    """

    def __init__(self, identity: bytes, meters: Meters) -> None:
        self._identity = identity
        self._meters = meters
        self._routes: OrderedDict[int, Route] = OrderedDict()

    def expect(self, seq: int, route: Route) -> None:
        """A row of the ledger is to be told of."""
        self._routes[seq] = route
        if len(self._routes) > MAX_ROUTES:
            self._routes.popitem(last=False)

    def confirmed(self, rows: Sequence[CreditedRow]) -> None:
        """The mint holds a quote for each of these rows."""
        frames: defaultdict[Recipient, list[Frame]] = defaultdict(list)
        for row in rows:
            route = self._routes.pop(row.seq, None)
            if route is not None:
                unit = Unit(self._identity, row.shift).name
                notice = QuoteNotice(route.channel_id, row.share_hash, row.amount, unit)
                frames[route.recipient].append(encode(notice))
                self._meters.notices.inc()
        for recipient, batch in frames.items():
            recipient.tell(batch)
            crash.once_sent("pool.notices-sent")

    def refused(self, seq: int, code: CreditCode) -> None:
        """The mint settled a row by refusing it."""
        route = self._routes.pop(seq, None)
        if route is not None:
            refused = CreditRefused(route.channel_id, route.sequence_number, code.label)
            route.recipient.tell([encode(refused)])
