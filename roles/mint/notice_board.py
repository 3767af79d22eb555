"""Who listens to what, and what they are told: the state of an object as the store has it, read after each
commit that changed it.

Whoever changes something posts its name. One reader takes all names that are listened to, reads their states
at once and hands them to the listeners, so that states of one object come in the order in which they were.
What changes several times before it is read is told once, as it then is. Changes that other processes make on
the same store are found by reading everything that is listened to again, every `poll_s`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from roles.mint.errors import OverloadedError
from roles.runtime.errors import StorageError

BATCH: Final = 1_000
RETRY_S: Final = 1.0

State = Mapping[str, object]
_log = logging.getLogger(__name__)


class Subject(NamedTuple):
    """An object that can be listened to: its kind as in NUT-17, and its name there."""

    kind: str
    name: str


class Listener(Protocol):
    """Hears of the subjects that it listens to."""

    def hear(self, subject: Subject, state: State) -> None:
        """The state of a subject, now that it may have changed; must not fail."""
        ...


Source = Callable[[Sequence[str]], Awaitable[Mapping[str, State]]]
"""Gives the states of one kind's objects by their names, as far as they exist."""


class NoticeBoard:
    """Everything that is listened to; `poll_s` 0 if no other process changes the store."""

    def __init__(self, *, poll_s: float = 0.0) -> None:
        self._poll_s = poll_s
        self._sources: dict[str, Source] = {}
        self._listeners: dict[Subject, dict[Listener, None]] = {}
        self._due: dict[Subject, None] = {}
        self._wake = asyncio.Event()

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds that can be listened to."""
        return tuple(self._sources)

    @property
    def subjects(self) -> int:
        """How many subjects are listened to."""
        return len(self._listeners)

    def offer(self, kind: str, source: Source) -> None:
        """Let a kind be listened to."""
        self._sources[kind] = source

    def post(self, kind: str, names: Iterable[str]) -> None:
        """These objects have changed, durably."""
        if self._listeners:
            self._mark(subject for name in names if (subject := Subject(kind, name)) in self._listeners)

    def listen(self, subjects: Iterable[Subject], listener: Listener) -> None:
        """Tell a listener of these subjects, of each as it is now and after every change."""
        subjects = list(subjects)
        for subject in subjects:
            self._listeners.setdefault(subject, {})[listener] = None
        self._mark(subjects)

    def leave(self, subjects: Iterable[Subject], listener: Listener) -> None:
        """Tell a listener no more of these subjects."""
        for subject in subjects:
            listeners = self._listeners.get(subject, {})
            listeners.pop(listener, None)
            if not listeners:
                self._listeners.pop(subject, None)

    async def run(self) -> None:
        """Read and tell what is due, until cancelled."""
        while True:
            await self._wait()
            batch = [subject for _, subject in zip(range(BATCH), self._due, strict=False)]
            for subject in batch:
                del self._due[subject]
            try:
                await self._tell(batch)
            except (StorageError, OverloadedError) as error:
                _log.warning("notices wait for the store", extra={"reason": str(error)})
                self._mark(batch)
                await asyncio.sleep(RETRY_S)

    async def _wait(self) -> None:
        if self._due:
            # The loop has others to serve between two batches.
            await asyncio.sleep(0)
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(self._poll_s or None):
                await self._wake.wait()
        except TimeoutError:
            self._mark(self._listeners)

    async def _tell(self, batch: Sequence[Subject]) -> None:
        names: dict[str, list[str]] = {}
        for subject in batch:
            if subject in self._listeners:
                names.setdefault(subject.kind, []).append(subject.name)
        for kind, wanted in names.items():
            for name, state in (await self._sources[kind](wanted)).items():
                subject = Subject(kind, name)
                for listener in tuple(self._listeners.get(subject, ())):
                    listener.hear(subject, state)

    def _mark(self, subjects: Iterable[Subject]) -> None:
        self._due.update(dict.fromkeys(subjects))
        if self._due:
            self._wake.set()
