"""How fast one peer may speak."""


class Pace:
    """A bucket of `burst` tokens that fills at `rate` a second: who takes more waits.

    There are `tokens` since `when`, in monotonic seconds; who has no time for a call does by itself what
    `admits` does.
    """

    __slots__ = ("burst", "rate", "tokens", "when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.when = now

    def take(self, now: float, amount: int = 1) -> float:
        """Take tokens at `now` (monotonic seconds) and return how long to wait for them, 0 as a rule."""
        self.tokens = min(self.burst, self.tokens + (now - self.when) * self.rate) - amount
        self.when = now
        return -self.tokens / self.rate if self.tokens < 0 else 0.0

    def admits(self, now: float) -> bool:
        """Take one token at `now` if there is one; who is refused owes nothing."""
        tokens = self.tokens
        if now > self.when:
            tokens += (now - self.when) * self.rate
            tokens = min(tokens, self.burst)
        self.when = now
        if tokens < 1:
            self.tokens = tokens
            return False
        self.tokens = tokens - 1
        return True
