"""One miner's life under a law of difficulty, simulated: shares by chance, targets quantised as in the pool.

A new target counts from new work on, as it does in the pool, and a device takes a moment to begin with that;
what it finds until then stands under the old target and is judged by it. Times in simulated seconds.
"""

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, inf
from typing import Final, Protocol

from protocols.bitcoin.target import MAX_TARGET, from_bits, work
from protocols.mining.credit_target import CreditRule

RULE: Final = CreditRule(32, 1)
NETWORK: Final = from_bits(0x17030000)
LINE_PER_S: Final = 1000.0
"""Shares a second that a device sends at most, whatever it finds."""
BULK_PER_S: Final = 50.0
BULK_S: Final = 0.1
"""Above that rate shares are drawn together, for so long."""
PACE_PER_S, PACE_BURST = 100.0, 1000.0
"""What the pool takes of one channel by default."""
SLOWEST_S: Final = 3.0
"""How long a device goes on with its old work at most."""

Rates = Sequence[tuple[float, float]]
"""From when on the miner has which hash rate."""


class Law(Protocol):
    """A rule that says how much work a share should take; it aims at `per_minute` shares."""

    per_minute: float
    due: float
    """When it wants to be asked, though no share comes."""

    def begin(self, work: int) -> None:
        """What the first shares take."""

    def share(self, work: int, count: int, now: float) -> float | None:
        """Shares of that work have been accepted; returns another work from now on."""

    def look(self, now: float) -> float | None:
        """It is time; returns another work from now on."""

    def changed(self, work: int) -> None:
        """What was wanted, as it could be had."""


@dataclass(slots=True)
class Life:
    """What happened: the work that was asked for and from when on; `shares` counts those accepted.

    `late` shares stood under an easier target that had been replaced already, each counted by its chance to
    miss the new one: so many would have been refused by a pool that judges by the newest target. `too_fast`
    were more than the pool takes.
    """

    rates: Rates
    per_minute: float
    works: list[tuple[float, int]] = field(default_factory=list)
    shares: int = 0
    late: float = 0.0
    too_fast: int = 0

    def ratio(self, when: float) -> float:
        """The expected rate of shares at a time, as a multiple of the wanted one: 1 is right."""
        took = self.works[bisect_right(self.works, (when, inf)) - 1][1]
        hashrate = self.rates[bisect_right(self.rates, (when, inf)) - 1][1]
        return hashrate / took * 60 / self.per_minute


def quantised(hashes: float) -> int:
    """The work that the pool can ask for instead of so much."""
    return work(RULE.target(int(hashes), network=NETWORK, max_target=MAX_TARGET))


def live(law: Law, rates: Rates, seconds: float, first: float, chance: random.Random) -> Life:
    """A life of so many seconds that begins with shares of `first` hashes."""
    life = Life(rates, law.per_minute)
    asked = active = quantised(first)
    life.works.append((0.0, asked))
    law.begin(asked)
    now, turn, hashrate = 0.0, 1, rates[0][1]
    to_begin: list[tuple[float, int]] = []
    room, filled = PACE_BURST, 0.0
    found, how_many = _next_share(now, hashrate / active, chance)
    while True:
        turns = rates[turn][0] if turn < len(rates) else inf
        begins = to_begin[0][0] if to_begin else inf
        now = min(found, law.due, begins, turns)
        if now >= seconds:
            return life
        wanted = None
        if now == found:
            room = min(PACE_BURST, room + (now - filled) * PACE_PER_S) - how_many
            filled = now
            over = max(0, int(-room))
            room += over
            life.too_fast += over
            life.shares += how_many - over
            if active < asked:
                life.late += (how_many - over) * (1 - active / asked)
            if how_many > over:
                wanted = law.share(active, how_many - over, now)
        elif now == turns:
            hashrate = rates[turn][1]
            turn += 1
        elif now == begins:
            active = to_begin.pop(0)[1]
        else:
            wanted = law.look(now)
        if now in (found, turns, begins):
            found, how_many = _next_share(now, hashrate / active, chance)
        if wanted is not None and (took := quantised(wanted)) != asked:
            asked = took
            life.works.append((now, asked))
            earliest = to_begin[-1][0] if to_begin else 0.0
            to_begin.append((max(earliest, now + chance.uniform(0.2, SLOWEST_S)), asked))
            law.changed(asked)


def _next_share(now: float, speed: float, chance: random.Random) -> tuple[float, int]:
    """When the next shares come, and how many together."""
    speed = min(speed, LINE_PER_S)
    if speed <= 0:
        return inf, 0
    if speed <= BULK_PER_S:
        return now + chance.expovariate(speed), 1
    return now + BULK_S, poisson(speed * BULK_S, chance)


def poisson(mean: float, chance: random.Random) -> int:
    """A number of independent events of which so many are expected, a few hundred at most."""
    limit, product, count = exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count
