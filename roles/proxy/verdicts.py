"""What a miner hears of its shares: the upstream's word, passed on in batches as it came."""

from collections.abc import Iterable
from time import monotonic
from typing import Protocol

from protocols.mining.acknowledgement import Acknowledgements
from protocols.mining.errors import NoVerdict
from protocols.sv2.layout import Message
from protocols.sv2.mining import SubmitSharesError
from protocols.sv2.share_frame import success
from protocols.sv2.tlv import Tlv
from roles.proxy.meters import Meters
from roles.stratum.connection import Plain
from roles.stratum.tally import Tally


class Hearer(Protocol):
    """The miner's connection, as answers need it."""

    def transmit(self, message: Message, tlvs: Iterable[Tlv] = ()) -> None:
        """Send with everything else of this turn of the loop."""

    def transmit_plain(self, frame: Plain) -> None:
        """The same for a frame as header and payload."""

    def acknowledge(self, verdicts: "Verdicts") -> None:
        """Ask for the answer that waits when everything else of this turn is sent."""


class Verdicts:
    """Answers and counts the shares of one downstream channel, each exactly once."""

    __slots__ = ("_acks", "_channel_id", "_is_waiting", "_line", "_meters", "_silent", "_tallies")

    def __init__(self, channel_id: int, line: Hearer, meters: Meters, *tallies: Tally) -> None:
        self._channel_id = channel_id
        self._line = line
        self._meters = meters
        self._acks = Acknowledgements(channel_id)
        self._tallies = tallies
        self._is_waiting = False
        self._silent = False

    def accepted(self, sequence: int, work: int, now: float) -> None:
        """The upstream accepted a share of so many expected hashes, at `now` in monotonic seconds; told with
        others of the same moment.
        """
        self.count_accepted(work, now)
        self.acknowledge(sequence, work)

    def found(self, number: int, now: float) -> None:
        """A share is good as far as the edge sees, at `now` in monotonic seconds; its verdict is to come. Its
        hash is given as a number.
        """
        for tally in self._tallies:
            tally.found(number, now)

    def count_accepted(self, work: int, now: float) -> None:
        """The upstream accepted a share, which is answered in its turn."""
        self._meters.accepted.inc()
        hashes = float(work)
        for tally in self._tallies:
            tally.credit(hashes, now)

    def count_local(self, work: int) -> None:
        """The edge itself accepted a share."""
        self._meters.local.inc()
        hashes, now = float(work), monotonic()
        for tally in self._tallies:
            tally.local += 1
            tally.rate.add(hashes, now)

    def acknowledge(self, sequence: int, work: int) -> None:
        """Answer a share with success; those before it must have been answered."""
        full = self._acks.add(sequence, work)
        if self._silent:
            return
        if full is not None:
            self._line.transmit_plain(success(*full))
        elif not self._is_waiting:
            # The upstream settles in batches: what it accepted in this turn is passed on in one message.
            self._is_waiting = True
            self._line.acknowledge(self)

    def refused(self, sequence: int, code: str, by: str) -> None:
        """A share is refused with `code`, by the edge or by the upstream."""
        reason = self._meters.rejection(code, by)
        for tally in self._tallies:
            tally.rejected[reason] += 1
        self._send(SubmitSharesError(self._channel_id, sequence, printable(code)))

    def lost(self, sequence: int) -> None:
        """Nobody will say what became of a share."""
        self._meters.shares.labels("unknown").inc()
        for tally in self._tallies:
            tally.unknown += 1
        self._send(SubmitSharesError(self._channel_id, sequence, NoVerdict.code))

    def silence(self) -> None:
        """The miner has closed the channel: count on, and say no more."""
        self._silent = True

    def due(self) -> Plain | None:
        """The answer that waits, if there is one and somebody to hear it."""
        self._is_waiting = False
        answer = self._acks.flush()
        return None if answer is None or self._silent else success(*answer)

    def _send(self, message: Message) -> None:
        if not self._silent:
            self._line.transmit(message)


def printable(code: str) -> str:
    """A peer's code as the wire allows it: printable ASCII."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in code)
