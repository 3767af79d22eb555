"""Batched answers: durable shares are acknowledged ten at a time, or 50 ms later, whichever is first."""

MAX_BATCH = 10
MAX_DELAY_MS = 50
_U64 = (1 << 64) - 1


Acknowledgement = tuple[int, int, int, int]
"""The fields of SubmitSharesSuccess: the channel, the last sequence number, how many shares up to that, and
the sum of their whole difficulties.
"""


class Acknowledgements:
    """The accepted shares of one channel that are durable and not answered yet."""

    __slots__ = ("_last", "_size", "_work", "channel_id", "count")

    def __init__(self, channel_id: int, size: int = MAX_BATCH) -> None:
        self.channel_id = channel_id
        self.count = 0
        self._size = size
        self._last = 0
        self._work = 0

    def add(self, sequence_number: int, work: int, count: int = 1) -> Acknowledgement | None:
        """Count durable shares up to this one, in the order of submission; returns the answer to all when
        the batch is full.

        `work` is in expected hashes, 0 for a repetition.
        """
        count += self.count
        if count < self._size:
            self.count = count
            self._last = sequence_number
            self._work += work
            return None
        # What `flush` comes to; a call more would be felt.
        total = (self._work + work) * 0xFFFF >> 48
        self.count = self._work = 0
        return self.channel_id, sequence_number, count, total if total <= _U64 else _U64

    def flush(self) -> Acknowledgement | None:
        """The answer to what is waiting, if anything is; its sum counts whole difficulties."""
        if not self.count:
            return None
        # A difficulty of 1 takes 2^48 / 65535 hashes.
        total = self._work * 0xFFFF >> 48
        answer = self.channel_id, self._last, self.count, min(total, _U64)
        self.count = self._work = 0
        return answer
