"""What a miner hears of its shares: the upstream's word, passed on in batches as it came."""

import asyncio
from collections.abc import Callable

from protocols.mining.acknowledgement import Acknowledgements
from protocols.mining.errors import NoVerdict
from protocols.sv2.layout import Message
from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from roles.proxy.meters import Meters


class Verdicts:
    """Answers and counts the shares of one downstream channel, each exactly once."""

    __slots__ = ("_acks", "_channel_id", "_flushing", "_meters", "_silent", "_transmit")

    def __init__(self, channel_id: int, transmit: Callable[[Message], None], meters: Meters) -> None:
        self._channel_id = channel_id
        self._transmit = transmit
        self._meters = meters
        self._acks = Acknowledgements(channel_id)
        self._flushing = False
        self._silent = False

    def accepted(self, sequence: int, work: int) -> None:
        """The upstream accepted a share of so many expected hashes; told with others of the same moment."""
        self.count_accepted()
        self.acknowledge(sequence, work)

    def count_accepted(self) -> None:
        """The upstream accepted a share, which is answered in its turn."""
        self._meters.accepted.inc()

    def acknowledge(self, sequence: int, work: int) -> None:
        """Answer a share with success; those before it must have been answered."""
        full = self._acks.add(sequence, work)
        if full is not None:
            self._send(SubmitSharesSuccess(*full))
        elif not self._flushing:
            # The upstream settles in batches: what it accepted in this turn is passed on in one message.
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def refused(self, sequence: int, code: str, by: str) -> None:
        """A share is refused with `code`, by the edge or by the upstream."""
        self._meters.rejection(code, by)
        self._send(SubmitSharesError(self._channel_id, sequence, printable(code)))

    def lost(self, sequence: int) -> None:
        """Nobody will say what became of a share."""
        self._meters.shares.labels("unknown").inc()
        self._send(SubmitSharesError(self._channel_id, sequence, NoVerdict.code))

    def silence(self) -> None:
        """The miner has closed the channel: count on, and say no more."""
        self._silent = True

    def _flush(self) -> None:
        self._flushing = False
        answer = self._acks.flush()
        if answer is not None:
            self._send(SubmitSharesSuccess(*answer))

    def _send(self, message: Message) -> None:
        if not self._silent:
            self._transmit(message)


def printable(code: str) -> str:
    """A peer's code as the wire allows it: printable ASCII."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in code)
