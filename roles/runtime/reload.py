"""What a running daemon changes when its configuration is read again, and what it cannot.

The parts of a daemon say which settings they can take over::

    daemon.reloads.on(["limits"], lambda config, shared: server.bound(ServerLimits.of(config.limits)))
    daemon.reloads.prepare(["tls"], make_certificate, always=True)

A key stands for everything below it; ``shared.`` precedes those of the shared file. Whatever nobody can take
over stays as it was, and is named.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter

from roles.runtime.errors import OperatorError
from shared_config.errors import ConfigInvalid
from shared_config.loader import Loaded
from shared_config.settings import DaemonSettings, Settings, SharedSettings

__all__ = ["SHARED", "Change", "Reloads", "Rereading"]

SHARED = "shared"

_log = logging.getLogger(__name__)

C = TypeVar("C", bound=DaemonSettings)
S = TypeVar("S", bound=SharedSettings)
M = TypeVar("M", bound=Settings)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change(Generic[C, S]):
    """The configuration that holds from now on; keys that were taken over, and those that need a restart."""

    config: C
    shared: S
    taken: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part(Generic[C, S]):
    keys: tuple[Path, ...]
    prepare: Callable[[C, S], Callable[[], None]]
    always: bool

    def concerns(self, path: Path) -> bool:
        return any(path[: len(key)] == key for key in self.keys)


@dataclass(slots=True)
class Reloads(Generic[C, S]):
    """The parts of one daemon that take settings over."""

    _parts: list[_Part[C, S]] = field(default_factory=list)

    @property
    def keys(self) -> frozenset[str]:
        """What parts take over."""
        return frozenset(".".join(key) for part in self._parts for key in part.keys)

    def on(self, keys: Sequence[str], act: Callable[[C, S], None]) -> None:
        """Have `act` take over the settings named; it is given both files and must not fail."""
        self.prepare(keys, lambda config, shared: lambda: act(config, shared))

    def prepare(
        self, keys: Sequence[str], make: Callable[[C, S], Callable[[], None]], *, always: bool = False
    ) -> None:
        """As `on`, for what may fail: `make` raises OperatorError, or returns what takes over.

        All are made before any takes over, so that a fault changes nothing. With `always` it is also called
        where no setting has changed, because a file that one names may have.
        """
        self._parts.append(_Part(tuple(tuple(key.split(".")) for key in keys), make, always))

    def take(self, present: tuple[C, S], wanted: tuple[C, S]) -> Change[C, S]:
        """Take over what can be of a valid configuration; raises OperatorError and changes nothing then."""
        (config, shared), (new_config, new_shared) = present, wanted
        own = [*changes(config, new_config)]
        others = [(SHARED, *path) for path in changes(shared, new_shared)]
        changed = [*own, *others]
        taken = [path for path in changed if any(part.concerns(path) for part in self._parts)]
        config = _merged(config, new_config, [path for path in own if path in taken])
        shared = _merged(shared, new_shared, [path[1:] for path in others if path in taken])
        ready = [
            part.prepare(config, shared)
            for part in self._parts
            if part.always or any(part.concerns(path) for path in taken)
        ]
        for take_over in ready:
            take_over()
        kept = [path for path in changed if path not in taken]
        return Change(config, shared, _names(taken), _names(kept))


class Rereading(Generic[C, S]):
    """Has the configuration read again when it is asked to, one time after the other.

    `read` raises ConfigInvalid, `take` OperatorError; either changes nothing, and is said and counted.
    """

    def __init__(
        self, read: Callable[[], Loaded[C, S]], take: Callable[[C, S], None], registry: CollectorRegistry
    ) -> None:
        self._read = read
        self._take = take
        self._is_asked = False
        self._task: asyncio.Task[None] | None = None
        self._results = Counter(
            "hashpool_reloads", "Times that the configuration was read again.", ["result"], registry=registry
        )

    def ask(self) -> None:
        """Read it soon; once more if it is being read now."""
        self._is_asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._is_asked:
            self._is_asked = False
            try:
                loaded = await asyncio.to_thread(self._read)
                if loaded.wanted:
                    raise ConfigInvalid(loaded.wanted)
                self._take(loaded.config, loaded.shared)
            except ConfigInvalid as error:
                self._refuse(list(map(str, error.problems)))
            except OperatorError as error:
                self._refuse([str(error)])
            else:
                self._results.labels("taken").inc()

    def _refuse(self, reasons: list[str]) -> None:
        self._results.labels("refused").inc()
        for reason in reasons:
            _log.error("the configuration is wrong, nothing was changed", extra={"reason": reason})


def changes(old: Settings, new: Settings, above: Path = ()) -> Iterator[Path]:
    """The keys whose values differ between two configurations of one model; a list of tables is one value."""
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Settings) and type(before) is type(after):
            yield from changes(before, after, (*above, name))
        elif before != after:
            yield (*above, name)


def _merged(table: M, other: M, paths: Iterable[Path]) -> M:
    """`table` with the values of `other` at these keys."""
    below: dict[str, list[Path]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    update = {
        name: getattr(other, name)
        if () in rest
        else _merged(getattr(table, name), getattr(other, name), rest)
        for name, rest in below.items()
    }
    return table.model_copy(update=update) if update else table


def _names(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(".".join(path) for path in paths)
