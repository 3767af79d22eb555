"""`vardiff`: how soon a miner's shares come at the wanted rate, in simulation, by our law and by others.

Miners of 1 kH/s to 1 EH/s: new ones that all say to have 1 TH/s, steps of ×10 and ÷10, ten minutes and an
hour switched off with the connection open, and none of that for hours. What counts is the expected rate of
shares, hash rate by the work of a share: it is right within 30 % of the wanted one. Nothing of it is a time
of this machine, and the same seed gives the same figures.
"""

import argparse
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.chart import Band, Grid
from benchmarks.errors import BenchmarkFailed
from benchmarks.simulated_miner import Law, Life, Rates, live, poisson
from benchmarks.vardiff_laws import Ckpool, Ours, Sri

RUNS: Final = 480
SEED: Final = 1
DECADES: Final = tuple(10.0**exponent for exponent in range(3, 19))
NOMINAL: Final = 1e12
"""What a miner that is not known says to have, whatever it has; Bitaxe does."""
GOAL: Final = (0.7, 1.3)
SOON_S: Final = 300.0
STAYS_S: Final = 60.0
"""A target has come within the goal when it stays there for so long."""
STEP_S: Final = 5.0
WATCHED_S: Final = 900.0
WARM_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a miner, at `event_s`, and for how long it is watched in all."""

    name: str
    text: str
    rates: Callable[[float], Rates]
    event_s: float
    seconds: float
    is_known: bool = True
    part: int = 1
    """Only one of so many runs is made."""

    def life(self, maker: "Maker", number: int, seed: int) -> Life:
        """One miner's life; each has a chance of its own, and the decades take turns."""
        chance = random.Random(f"{seed} {self.name} {number}")
        hashrate = DECADES[number % len(DECADES)]
        law, factor = maker(is_known=self.is_known, chance=chance)
        said = hashrate if self.is_known else NOMINAL
        first = said * 60 / law.per_minute * factor
        return live(law, self.rates(hashrate), self.seconds, first, chance)


class Maker:
    """Makes a law, and says by what to multiply the first work of a miner."""

    def __init__(self, name: str, make: Callable[[bool, random.Random], Law], factor: float = 1.0) -> None:
        self.name = name
        self._make = make
        self._factor = factor

    def __call__(self, *, is_known: bool, chance: random.Random) -> tuple[Law, float]:
        """A law for one miner."""
        law = self._make(is_known, chance)
        return law, 1.0 if is_known else self._factor


def _ours(per_minute: float) -> Maker:
    return Maker(
        f"ours, {per_minute:g} a minute",
        lambda is_known, _: Ours(per_minute, is_known=is_known),
        Ours(per_minute, is_known=False).first_factor,
    )


LAWS: Final = {
    "ours_6": _ours(6.0),
    "ours_18": _ours(18.0),
    "ckpool_18": Maker("ckpool, 18 a minute", lambda *_: Ckpool()),
    "sri_6": Maker("SRI, 6 a minute", lambda _, chance: Sri(6.0, chance.uniform(0, 60))),
}

SCENARIOS: Final = (
    Scenario("start", "new, says 1 TH/s", lambda rate: ((0, rate),), 0, WATCHED_S, is_known=False),
    Scenario("up", "×10", lambda rate: ((0, rate), (WARM_S, rate * 10)), WARM_S, WARM_S + WATCHED_S),
    Scenario("down", "÷10", lambda rate: ((0, rate), (WARM_S, rate / 10)), WARM_S, WARM_S + WATCHED_S),
    Scenario(
        "on_off",
        "on after 10 min off",
        lambda rate: ((0, rate), (WARM_S, 0), (2 * WARM_S, rate)),
        2 * WARM_S,
        2 * WARM_S + WATCHED_S,
    ),
    Scenario(
        "on_off_hour",
        "on after 1 h off",
        lambda rate: ((0, rate), (WARM_S, 0), (WARM_S + 3600, rate)),
        WARM_S + 3600,
        WARM_S + 3600 + WATCHED_S,
        part=3,
    ),
    Scenario("steady", "steady", lambda rate: ((0, rate),), 3600, 4 * 3600, part=8),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"miners of a scenario ({RUNS})")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"of all chance ({SEED})")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw how the rate of shares goes")


def run(options: argparse.Namespace) -> dict[str, object]:
    """Simulate; raises BenchmarkFailed when the plot cannot be written."""
    lives: dict[tuple[str, str], list[Life]] = {}
    for scenario in SCENARIOS:
        for key, maker in LAWS.items():
            lives[key, scenario.name] = simulate(scenario, maker, options.runs, options.seed)
    if options.plot is not None:
        try:
            options.plot.write_text(plot(lives).svg())
        except OSError as error:
            raise BenchmarkFailed(f"{options.plot} cannot be written: {error.strerror}") from error
    return {
        "seed": options.seed,
        "runs": options.runs,
        "noise_alone": {f"{rate:g}_a_minute": noise_alone(rate, options.seed) for rate in (6.0, 18.0)},
        "laws": {
            key: {scenario.name: figures(scenario, lives[key, scenario.name]) for scenario in SCENARIOS}
            for key in LAWS
        },
    }


def simulate(scenario: Scenario, maker: Maker, runs: int, seed: int) -> list[Life]:
    """So many lives, or the scenario's part of them."""
    return [scenario.life(maker, number, seed) for number in range(max(1, runs // scenario.part))]


def figures(scenario: Scenario, lives: Sequence[Life]) -> dict[str, float]:
    """What is to be told of lives: parts of them, seconds until the goal, changes an hour, and shares.

    `within_5_min`: came within the goal, to stay there for a minute, in less than 300 seconds. `at_5_min`:
    is within it then. `later`: part of the time after that in which it is. `changes`: in the ten minutes
    after the event, or in an hour where nothing happens. `late` and `too_fast`: as Life has them, each life.
    """
    event = scenario.event_s
    waits = sorted(settled_s(life, event) for life in lives)
    later = [
        is_good(life, event + SOON_S + step * STEP_S)
        for life in lives
        for step in range(int((scenario.seconds - event - SOON_S) / STEP_S))
    ]
    is_steady = scenario.name == "steady"
    end = scenario.seconds if is_steady else event + WARM_S
    changes = sum(sum(event < when < end for when, _ in life.works) for life in lives)
    hours = (end - event) / 3600 if is_steady else 1.0
    return {
        "within_5_min": _part(wait < SOON_S for wait in waits),
        "at_5_min": _part(is_good(life, event + SOON_S) for life in lives),
        "p50_s": _quantile(waits, 0.5),
        "p95_s": _quantile(waits, 0.95),
        "p99_s": _quantile(waits, 0.99),
        "later": _part(later),
        "changes": round(changes / len(lives) / hours, 2),
        "late": round(sum(life.late for life in lives) / len(lives), 2),
        "too_fast": round(sum(life.too_fast for life in lives) / len(lives), 2),
    }


def is_good(life: Life, when: float) -> bool:
    """Whether the expected rate of shares is near enough to the wanted one."""
    return GOAL[0] <= life.ratio(when) <= GOAL[1]


def settled_s(life: Life, event: float) -> float:
    """How long after the event the target came within the goal to stay, WATCHED_S if not by then."""
    steps = int(STAYS_S / STEP_S)
    good = 0
    for step in range(int(WATCHED_S / STEP_S)):
        good = good + 1 if is_good(life, event + step * STEP_S) else 0
        if good == steps:
            return (step - steps + 1) * STEP_S
    return WATCHED_S


def noise_alone(per_minute: float, seed: int, runs: int = 20_000) -> float:
    """How often who knows when a miner changed, and counts its shares at the wanted rate, is right."""
    chance = random.Random(f"{seed} noise {per_minute}")
    expected = per_minute * SOON_S / 60
    counts = (poisson(expected, chance) for _ in range(runs))
    return _part(count > 0 and GOAL[0] <= expected / count <= GOAL[1] for count in counts)


def plot(lives: dict[tuple[str, str], list[Life]]) -> Grid:
    """The rate of shares over time: the middle of all lives and the nine tenths around it."""
    shown = [scenario for scenario in SCENARIOS if scenario.name != "steady"]
    times = [step * 2 * STEP_S for step in range(-6, 61)]
    return Grid(
        "Expected rate of shares, as a multiple of the wanted one (green: within 30 %)",
        [scenario.text for scenario in shown],
        [maker.name for maker in LAWS.values()],
        times,
        [
            [_band(lives[key, scenario.name], [scenario.event_s + time for time in times]) for key in LAWS]
            for scenario in shown
        ],
        (1e-2, 1e2),
        GOAL,
        (0.0, SOON_S),
    )


def _band(lives: Sequence[Life], times: Sequence[float]) -> Band:
    columns = [sorted(life.ratio(max(0.0, time)) for life in lives) for time in times]
    return Band(*([_quantile(column, part) for column in columns] for part in (0.05, 0.5, 0.95)))


def _part(truths: Iterable[bool]) -> float:
    all_of_them = list(truths)
    return round(sum(all_of_them) / len(all_of_them), 3)


def _quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
