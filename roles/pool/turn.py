"""What one connection asks for in one turn of the event loop."""

from protocols.sv2.frame import Frame
from roles.credit.ledger_rows import Entry
from roles.pool.share_desk import Judged


class Turn:
    """Good shares, answers, and what they cost; `now` in Unix seconds, `moment` in monotonic ones.

    `entries` are for the ledger; `refused` counts shares, `requests` everything else; `cost` is
    what is to be paid besides a share's due.
    """

    __slots__ = ("cost", "entries", "judged", "moment", "now", "refused", "replies", "requests")

    def __init__(self, now: int, moment: float) -> None:
        self.now = now
        self.moment = moment
        self.judged: list[Judged] = []
        self.entries: list[Entry] = []
        self.replies: list[Frame] = []
        self.cost = self.refused = self.requests = 0
