"""What hashes one downstream channel is asked for: its target of the moment, and those of earlier jobs.

It is no credit target: the upstream credits what meets its own, which is never easier. So it may change for
work that a miner has; and each job keeps the target that the miner had for it.
"""

MAX_EARLIER = 16


class Sieve:
    """The targets of a channel within a tip, by the job ids from which they count; ids only grow."""

    __slots__ = ("_earlier", "_since", "_tip_number", "target")

    def __init__(self, target: int) -> None:
        self.target = target
        self._since = 0
        self._tip_number = 0
        self._earlier: tuple[tuple[int, int], ...] = ()

    def change(self, target: int, since: int, tip_number: int) -> None:
        """Another target, from this job of this tip on."""
        self._turn(tip_number)
        self._earlier = (*self._earlier, (self._since, self.target))[-MAX_EARLIER:]
        self.target, self._since = target, since

    def at(self, job_id: int, tip_number: int) -> int:
        """The target for a job of the present tip; of one too long ago the oldest that is known."""
        self._turn(tip_number)
        if job_id >= self._since:
            return self.target
        found = next((target for since, target in reversed(self._earlier) if since <= job_id), None)
        return self._earlier[0][1] if found is None else found

    def _turn(self, tip_number: int) -> None:
        if tip_number != self._tip_number:
            self._tip_number, self._since, self._earlier = tip_number, 0, ()
