"""Small multiples of bands over time, as SVG: no library, no script, legible in light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Final
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 250, 130
LEFT, TOP, GAP, FOOT = 62, 58, 18, 46
COLOURS: Final = ("#2563eb", "#d97706", "#be185d", "#0d9488")
_STYLE: Final = (
    "text{font:11px sans-serif;fill:#555}.head{font-weight:bold;font-size:13px}"
    ".grid{stroke:#8884;stroke-width:1}.goal{fill:#22c55e;fill-opacity:.25}"
    ".frame{fill:none;stroke:#888}"
)


@dataclass(frozen=True, slots=True)
class Band:
    """Low, middle and high of a positive quantity at the chart's times."""

    low: Sequence[float]
    middle: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True, slots=True)
class Grid:
    """Panels by row and column, drawn over the same times in seconds on one logarithmic scale.

    `goal` is the range that is wanted, `marks` are times to be marked, in seconds.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    times: Sequence[float]
    panels: Sequence[Sequence[Band]]
    scale: tuple[float, float]
    goal: tuple[float, float]
    marks: Sequence[float] = ()

    def svg(self) -> str:
        """The drawing."""
        width = LEFT + len(self.columns) * (WIDTH + GAP)
        height = TOP + len(self.rows) * (HEIGHT + GAP) + FOOT
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style>",
            f'<text class="head" x="{LEFT}" y="20">{escape(self.title)}</text>',
        ]
        for column, name in enumerate(self.columns):
            parts.append(f'<text x="{LEFT + column * (WIDTH + GAP)}" y="{TOP - 10}">{escape(name)}</text>')
        for row, name in enumerate(self.rows):
            top = TOP + row * (HEIGHT + GAP)
            for column in range(len(self.columns)):
                left = LEFT + column * (WIDTH + GAP)
                parts.append(f'<g transform="translate({left} {top})">')
                parts += self._panel(self.panels[row][column], COLOURS[column % len(COLOURS)])
                parts.append("</g>")
            parts.append(f'<text transform="translate(14 {top + HEIGHT}) rotate(-90)">{escape(name)}</text>')
            parts += [
                f'<text x="{LEFT - 6}" y="{top + self._y(tick) + 4:.0f}" text-anchor="end">{tick:g}</text>'
                for tick in self._ticks()
            ]
        foot = height - FOOT + 16
        for column in range(len(self.columns)):
            left = LEFT + column * (WIDTH + GAP)
            parts += [
                f'<text x="{left + self._x(time):.0f}" y="{foot - 12}" text-anchor="middle">'
                f"{time / 60:g} min</text>"
                for time in self.marks
            ]
        parts.append("</svg>")
        return "\n".join(parts) + "\n"

    def _panel(self, band: Band, colour: str) -> list[str]:
        low, high = self._y(self.goal[0]), self._y(self.goal[1])
        parts = [f'<rect class="goal" y="{high:.1f}" width="{WIDTH}" height="{low - high:.1f}"/>']
        for tick in self._ticks():
            parts.append(f'<path class="grid" d="M0 {self._y(tick):.1f}H{WIDTH}"/>')
        for mark in self.marks:
            parts.append(f'<path class="grid" d="M{self._x(mark):.1f} 0V{HEIGHT}"/>')
        there, back = self._points(band.high), self._points(band.low)[::-1]
        parts.append(f'<path fill="{colour}" fill-opacity=".25" d="M{"L".join(there + back)}Z"/>')
        middle = "L".join(self._points(band.middle))
        parts.append(f'<path fill="none" stroke="{colour}" stroke-width="1.8" d="M{middle}"/>')
        parts.append(f'<rect class="frame" width="{WIDTH}" height="{HEIGHT}"/>')
        return parts

    def _points(self, values: Sequence[float]) -> list[str]:
        return [
            f"{self._x(time):.0f} {self._y(value):.0f}"
            for time, value in zip(self.times, values, strict=True)
        ]

    def _ticks(self) -> list[float]:
        first, last = (round(log10(value)) for value in self.scale)
        return [10.0**exponent for exponent in range(first, last + 1)]

    def _x(self, time: float) -> float:
        return (time - self.times[0]) / (self.times[-1] - self.times[0]) * WIDTH

    def _y(self, value: float) -> float:
        low, high = self.scale
        share = log10(min(max(value, low), high) / low) / log10(high / low)
        return HEIGHT * (1 - share)
