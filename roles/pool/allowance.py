"""How much one connection may ask of us: a steady rate, with ten seconds' worth at once."""

BURST_S = 10.0


class Allowance:
    """Counts what was used against `rate` a second; times in monotonic seconds."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._left = rate * BURST_S
        self._at = now

    def use(self, amount: int, now: float) -> float:
        """Take `amount`; returns for how many seconds nothing more should be taken."""
        refill = max(0.0, now - self._at) * self._rate
        self._left = min(self._rate * BURST_S, self._left + refill) - amount
        self._at = now
        return max(0.0, -self._left / self._rate)
