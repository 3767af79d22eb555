"""What an audit found: counts of what was looked at, and problems, the first of each kind in words."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

EXAMPLES: Final = 5


@dataclass
class Findings:
    """The result of one audit; it is `ok` while no problem was noted."""

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
        seen = ", ".join(f"{number} {what}" for what, number in self.counts.items())
        alarms = "".join(f"; look at {number} {kind}" for kind, number in self.alarms.items())
        if self.ok:
            return f"Every share has exactly its quote ({seen}){alarms}."
        wrong = "; ".join(
            f"{number} {kind} (such as {self.examples[kind][0]})" for kind, number in self.problems.items()
        )
        return f"{wrong}; looked at {seen}{alarms}."
