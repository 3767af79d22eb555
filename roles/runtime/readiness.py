"""Whether a daemon can serve, and if not, why not."""

import asyncio
import logging

_log = logging.getLogger(__name__)


class Readiness:
    """Named conditions that must all be met; ready once at least one is declared and none is unmet."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._met: set[str] = set()
        self._notes: dict[str, str] = {}
        self._ready = asyncio.Event()

    def declare(self, condition: str, reason: str = "starting") -> None:
        """Name a condition that is not met yet."""
        self._reasons.setdefault(condition, reason)
        self._update()

    def met(self, condition: str) -> None:
        """Say that a declared condition holds."""
        if condition not in self._met:
            if condition not in self._reasons:
                raise LookupError(f"{condition} was never declared")
            self._met.add(condition)
            self._update()

    def unmet(self, condition: str, reason: str) -> None:
        """Say why a condition no longer holds, or that the reason has changed."""
        self._met.discard(condition)
        self._reasons[condition] = reason
        self._update()

    def note(self, condition: str, text: str) -> None:
        """Say what people should know of a condition although it is met; nothing when text is empty."""
        self._notes.pop(condition, None)
        if text:
            self._notes[condition] = text

    @property
    def notes(self) -> dict[str, str]:
        """What people should know of conditions that are met: condition to text."""
        return {name: text for name, text in self._notes.items() if name in self._met}

    @property
    def ready(self) -> bool:
        """Whether every declared condition is met."""
        return self._ready.is_set()

    @property
    def reasons(self) -> dict[str, str]:
        """What is missing: condition to reason."""
        return {name: reason for name, reason in self._reasons.items() if name not in self._met}

    async def wait(self) -> None:
        """Return when everything is met."""
        await self._ready.wait()

    def _update(self) -> None:
        if self._reasons and len(self._met) == len(self._reasons):
            if not self._ready.is_set():
                _log.info("ready")
            self._ready.set()
        elif self._ready.is_set():
            waits = "; ".join(f"{name}: {reason}" for name, reason in self.reasons.items())
            _log.warning("no longer ready", extra={"waits_for": waits})
            self._ready.clear()
