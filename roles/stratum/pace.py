"""How fast one peer may speak."""


class Pace:
    """A bucket of `burst` tokens that fills at `rate` a second: who takes more waits."""

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._when = now

    def take(self, now: float, amount: int = 1) -> float:
        """Take tokens at `now` (monotonic seconds) and return how long to wait for them, 0 as a rule."""
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate) - amount
        self._when = now
        return -self._tokens / self._rate if self._tokens < 0 else 0.0

    def admits(self, now: float) -> bool:
        """Take one token at `now` if there is one; who is refused owes nothing."""
        tokens = self._tokens
        if now > self._when:
            tokens += (now - self._when) * self._rate
            tokens = min(tokens, self._burst)
        self._when = now
        if tokens < 1:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1
        return True
