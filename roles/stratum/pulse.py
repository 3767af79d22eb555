"""Whether an upstream that says nothing still lives.

SV2 has no ping. But a server owes an error to an update of a channel that there is not: that is asked when
nothing has been heard for a while; an SV1 pool is asked to let our name in once more. Who has answered once,
and then says nothing at all, is gone. Who never answers is not asked again, because some hang up on what they
do not expect.
"""

from typing import Final

from protocols.bitcoin.target import MAX_TARGET
from protocols.sv2.mining import UpdateChannel

__all__ = ["NOBODY", "QUESTION", "Habits", "Pulse"]

NOBODY = 0xFFFFFFFF
"""The channel that is asked about."""
QUESTION: Final = UpdateChannel(NOBODY, 0.0, MAX_TARGET)
"""What an SV2 server is asked."""


class Habits:
    """What is known of an upstream over all its connections: whether it answers; None until it was asked."""

    __slots__ = ("answers",)

    def __init__(self) -> None:
        self.answers: bool | None = None


class Pulse:
    """The life of one connection; times in monotonic seconds.

    `stall`: after so long without a word it is asked, and given up after as long without an answer.
    """

    __slots__ = ("_asked", "_habits", "_heard", "_is_asked", "_stall")

    def __init__(self, habits: Habits, stall: float, now: float) -> None:
        self._habits = habits
        self._stall = stall
        self._heard = self._asked = now
        self._is_asked = False

    def heard(self, now: float) -> None:
        """Something has come, whatever it is."""
        self._heard = now

    def silence(self, now: float) -> float:
        """How long nothing has come."""
        return now - self._heard

    def asks(self, now: float) -> bool:
        """Whether to ask now: once to learn whether it answers, from then on when nothing has been heard."""
        answers = self._habits.answers
        if self._is_asked or answers is False or (answers and now - self._heard < self._stall):
            return False
        self._is_asked, self._asked = True, now
        return True

    def answered(self) -> None:
        """The answer has come."""
        self._is_asked = False
        self._habits.answers = True

    def is_gone(self, now: float) -> bool:
        """Whether it has said nothing at all since it was asked, though it is one that answers."""
        is_mute = self._is_asked and self._heard <= self._asked and now - self._asked >= self._stall
        return is_mute and self._habits.answers is True

    def end(self) -> None:
        """The connection is over."""
        if self._is_asked and self._habits.answers is None:
            self._habits.answers = False
