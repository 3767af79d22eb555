"""Finds the route of a plain path faster than aiohttp, to which everything else is left."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

Found = tuple[web.AbstractRoute, dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A route by its segments: `fixed` by place, and the names of those that match anything."""

    route: web.AbstractRoute
    fixed: Mapping[int, str]
    names: Mapping[int, str]


class PathTable:
    """Routes by method and number of segments; `{name}` matches one."""

    def __init__(self) -> None:
        self._patterns: dict[tuple[str, int], list[_Pattern]] = {}

    def add(self, method: str, path: str, route: web.AbstractRoute) -> None:
        """Let it be found."""
        segments = path.split("/")
        names = {at: text[1:-1] for at, text in enumerate(segments) if text.startswith("{")}
        fixed = {at: text for at, text in enumerate(segments) if at not in names}
        self._patterns.setdefault((method, len(segments)), []).append(_Pattern(route, fixed, names))

    def find(self, method: str, path: str) -> Found | None:
        """The one route of a path as it stands in the request, and what its names match; None for a path that
        has none or several, or that is not plain.
        """
        if "%" in path:
            return None
        segments = path.split("/")
        found: Found | None = None
        for pattern in self._patterns.get((method, len(segments)), ()):
            for at, text in pattern.fixed.items():
                if segments[at] != text:
                    break
            else:
                matched = {name: segments[at] for at, name in pattern.names.items()}
                if found is not None or not all(matched.values()):
                    return None
                found = pattern.route, matched
        return found
