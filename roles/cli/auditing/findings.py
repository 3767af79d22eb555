"""What an audit found: counts of what was looked at, and problems, the first of each kind in words."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

EXAMPLES: Final = 5
ALONE: Final = "Nothing is missing, doubled or unexplained"
TOGETHER: Final = "Every share has exactly its quote"
_PLURAL: Final = re.compile(r"\b(\w+)s\b")


@dataclass
class Findings:
    """The result of one audit; it is `ok` while no problem was noted, and `verdict` then says what holds."""

    verdict: str = ALONE
    counts: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    alarms: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, doubled or unexplained."""
        return not self.problems

    def count(self, what: str, number: int = 1) -> None:
        """Note that something was looked at."""
        self.counts[what] += number

    def problem(self, kind: str, example: str) -> None:
        """Note something that must not be; `example` says where."""
        self.problems[kind] += 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < EXAMPLES:
            kept.append(example)

    def alarm(self, kind: str) -> None:
        """Note something that is explained but wants an operator's look."""
        self.alarms[kind] += 1

    def detail(self) -> str:
        """Return the result as one sentence."""
        if self.ok:
            return f"{self.verdict} ({self.seen()}){self.warnings()}."
        wrong = "; ".join(
            f"{counted(number, kind)} (such as {self.examples[kind][0]})"
            for kind, number in self.problems.items()
        )
        return f"{wrong}; looked at {self.seen()}{self.warnings()}."

    def seen(self) -> str:
        """Return what was looked at."""
        return ", ".join(counted(number, what) for what, number in self.counts.items()) or "nothing is there"

    def warnings(self) -> str:
        """Return the alarms as the end of a sentence."""
        return "".join(f"; look at {counted(number, kind)}" for kind, number in self.alarms.items())


def counted(number: int, what: str) -> str:
    """Return a number with what it counts, whose noun is the first word that ends in s: 1 share, 2 shares."""
    return f"{number:,} " + (_PLURAL.sub(r"\1", what, count=1) if number == 1 else what)
