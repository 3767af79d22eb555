"""The life of a daemon: arguments, configuration, logs, health, signals, draining, exit code.

::

    SPEC = DaemonSpec("pool", PoolSettings, PoolSide, service)

    def main(argv: list[str] | None = None) -> int:
        return run(SPEC, argv)

``service`` builds the daemon and runs until ``daemon.stopping`` is set; it then has ``drain_s`` to finish
what it has begun, and is cancelled after that. SIGHUP has the configuration read again (see
`roles.runtime.reload`).
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics

from roles.runtime import crash, log, sysexits
from roles.runtime.api import Api
from roles.runtime.arguments import Arguments
from roles.runtime.errors import OperatorError
from roles.runtime.health import HealthServer
from roles.runtime.kernel import BUILD, Kernel, kernel
from roles.runtime.process import die_with_parent, harden
from roles.runtime.readiness import Readiness
from roles.runtime.redaction import shown
from roles.runtime.reload import Reloads, Rereading
from roles.runtime.state import checkout, role_state, state_root
from shared_config.errors import ConfigInvalid, Problem
from shared_config.loader import Loaded, describe, load
from shared_config.settings import DaemonSettings, SharedSettings

C = TypeVar("C", bound=DaemonSettings)
S = TypeVar("S", bound=SharedSettings)

_CANCEL_S = 5.0
_CROWD = 4_000
"""Objects more than before, after which the collector of a daemon with crowds looks for circles: some hundred
peers. Five times as many cost no less in `bench edge`, and kept megabytes of what handshakes leave behind.
"""
_omit_creation_times: Callable[[], None] = disable_created_metrics
"""A creation time beside every counter would double what a scrape costs and tell nothing new."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Daemon(Generic[C, S]):
    """What a service is given."""

    name: str
    config: C
    shared: S
    state: Path
    """The daemon's own directory, mode 0700."""
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    readiness: Readiness = field(default_factory=Readiness)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    kernel: Kernel = field(default_factory=kernel)
    reloads: Reloads[C, S] = field(default_factory=Reloads)
    """Where parts say which settings they take over while the daemon runs."""
    api: Api = field(init=False)
    """What is answered under the health address beside the health pages."""

    def __post_init__(self) -> None:
        self.api = Api(self.name)

    def take(self, config: C, shared: S) -> None:
        """Take over what can be of another valid configuration; raises OperatorError, and changes nothing."""
        change = self.reloads.take((self.config, self.shared), (config, shared))
        self.config, self.shared = change.config, change.shared
        _log.info("the configuration was read again", extra={"settings": ", ".join(change.taken) or "none"})
        for key in change.kept:
            _log.warning("a changed setting needs a restart", extra={"setting": key})

    def show_peer(self, peer: str) -> str | None:
        """As much of a peer's address as people may see."""
        return shown(peer, self.config.peer_addresses)

    def resolve(self, path: Path) -> Path:
        """A path of the configuration: a relative one is in the state directory that all daemons share."""
        return self.state.parent / path


@dataclass(frozen=True, slots=True)
class DaemonSpec(Generic[C, S]):
    """A daemon: its name (also of its directory and file), its models and its service.

    `examine` looks, for ``--check``, at the files that its configuration names: it is given that, and what
    finds a relative path, and raises OperatorError. `serves_crowds`: it gives thousands of peers something
    new at once.
    """

    name: str
    config: type[C]
    shared: type[S]
    service: Callable[[Daemon[C, S]], Awaitable[None]]
    examine: Callable[[C, Callable[[Path], Path]], None] | None = None
    serves_crowds: bool = False


def run(spec: DaemonSpec[C, S], argv: list[str] | None = None) -> int:
    """Run a daemon from its arguments to its end and return its exit code, one of sysexits."""
    arguments = _arguments(spec, argv)
    if arguments.die_with_parent is not None and not die_with_parent(arguments.die_with_parent):
        return sysexits.OK
    try:
        loaded = _load(spec, arguments)
    except ConfigInvalid as error:
        return _invalid(spec.name, error.problems)
    if arguments.print_config:
        sys.stdout.write(describe(loaded))
        return sysexits.OK
    if loaded.wanted:
        return _invalid(spec.name, loaded.wanted)
    if arguments.check:
        try:
            if spec.examine is not None:
                spec.examine(loaded.config, state_root(arguments.state).joinpath)
        except OperatorError as error:
            sys.stderr.write(f"{spec.name}: {error}\n")
            return error.exit_code
        files = f"{loaded.document.name} and {loaded.shared_document.name}"
        sys.stdout.write(f"{spec.name}: {files} are sound\n")
        return sysexits.OK
    _configure_log(spec.name, loaded.config)
    _omit_creation_times()
    try:
        crash.arm(os.environ.get(crash.VARIABLE, ""))
        harden()
        state = role_state(state_root(arguments.state), spec.name)
        daemon = Daemon(spec.name, loaded.config, loaded.shared, state)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_live(spec, daemon, lambda: _load(spec, arguments)))
    except OperatorError as error:
        return _failed(error)


def assist(daemon: Daemon[C, S], service: Callable[[Daemon[C, S]], Awaitable[None]]) -> int:
    """Run a further process of a daemon, which is told all by the first and has no health address.

    Returns its exit code, one of sysexits.
    """
    _configure_log(daemon.name, daemon.config)
    _omit_creation_times()
    try:
        crash.arm(os.environ.get(crash.VARIABLE, ""))
        harden()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_work(daemon, service))
    except OperatorError as error:
        return _failed(error)


def _arguments(spec: DaemonSpec[C, S], argv: list[str] | None) -> argparse.Namespace:
    configs = (checkout() or Path()) / "config"
    parser = Arguments(prog=f"hashpool-{spec.name}", description=spec.config.__doc__)
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        default=configs / f"{spec.name}.toml",
        help="its own file",
    )
    parser.add_argument(
        "-g",
        "--global",
        dest="shared",
        type=Path,
        metavar="FILE",
        help=f"the shared file of its side; by default shared/{spec.shared.side}.toml beside its own",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="overrides a key; shared.KEY one of the shared file",
    )
    parser.add_argument("--state", metavar="DIR", help="the state directory; by default $HASHPOOL_STATE")
    parser.add_argument("--check", action="store_true", help="check the configuration and exit")
    parser.add_argument(
        "--print-config", action="store_true", help="print the configuration with the origin of each value"
    )
    parser.add_argument(
        "--die-with-parent", type=int, metavar="PID", help="end when the process that started it ends"
    )
    return parser.parse_args(argv)


def _load(spec: DaemonSpec[C, S], arguments: argparse.Namespace) -> Loaded[C, S]:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    own: Path = arguments.config
    shared: Path = arguments.shared or own.parent / "shared" / f"{spec.shared.side}.toml"
    return load(
        spec.config,
        own,
        spec.shared,
        shared,
        overrides=arguments.set,
        credentials=Path(credentials) if credentials else None,
    )


def _configure_log(name: str, config: DaemonSettings) -> None:
    log.configure(name, config.log.format, config.log.level, config.peer_addresses)


def _invalid(name: str, problems: tuple[Problem, ...]) -> int:
    for problem in problems:
        sys.stderr.write(f"{name}: {problem}\n")
    return sysexits.CONFIG


def _failed(error: OperatorError) -> int:
    _log.error("%s", error.text, extra={"hint": error.hint, "exit_code": error.exit_code})
    return error.exit_code


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed and ``$HASHPOOL_LOOP`` does not ask for asyncio's own."""
    if os.environ.get("HASHPOOL_LOOP") != "asyncio":
        with contextlib.suppress(ImportError):
            import uvloop

            return uvloop.new_event_loop
    return None


async def _live(spec: DaemonSpec[C, S], daemon: Daemon[C, S], read: Callable[[], Loaded[C, S]]) -> int:
    ProcessCollector(registry=daemon.metrics)
    ready = Gauge("hashpool_ready", "1 when the daemon can serve.", registry=daemon.metrics)
    ready.set_function(lambda: float(daemon.readiness.ready))
    health = HealthServer(spec.name, daemon.readiness, daemon.metrics, daemon.api)
    where = await health.start(daemon.config.health_address)
    _tell_start(daemon, f"http://{where}")
    if spec.serves_crowds:
        # A new job is objects that take the place of others, none of which form circles: to look at those of
        # all miners each time costs a quarter of giving it, and looking at everything stops all for long.
        gc.set_threshold(_CROWD)
    try:
        return await _work(daemon, spec.service, Rereading(read, daemon.take, daemon.metrics).ask)
    finally:
        await health.close()


async def _work(
    daemon: Daemon[C, S],
    service: Callable[[Daemon[C, S]], Awaitable[None]],
    read_again: Callable[[], None] = lambda: None,
) -> int:
    daemon.reloads.on(["log", "peer_addresses"], lambda config, _: _configure_log(daemon.name, config))
    daemon.reloads.on(["drain_s"], lambda *_: None)
    # What start-up made stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    work = asyncio.ensure_future(service(daemon))
    with _signals(daemon, work, read_again):
        await _until_stopped(daemon, work)
    if not work.cancelled() and (error := work.exception()) is not None:
        return _crashed(error)
    if not daemon.stopping.is_set():
        _log.error("the service ended by itself")
        return sysexits.SOFTWARE
    _log.info("stopped")
    return sysexits.OK


def _tell_start(daemon: Daemon[C, S], health: str) -> None:
    """Say, and let the metrics say, what the daemon runs on."""
    native = Gauge(
        "hashpool_kernel", "1 for the kernel of the share path.", ["name"], registry=daemon.metrics
    )
    native.labels(daemon.kernel.name).set(1)
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    facts = {"pid": os.getpid(), "health": health, "state": str(daemon.state)}
    _log.info("starting", extra=facts | {"loop": loop, "kernel": daemon.kernel.name})
    if daemon.kernel.complaint:
        _log.warning("%s", daemon.kernel.complaint, extra={"hint": BUILD})


@contextlib.contextmanager
def _signals(
    daemon: Daemon[C, S], service: asyncio.Future[Any], read_again: Callable[[], None]
) -> Iterator[None]:
    """SIGTERM and SIGINT stop the daemon; a second one stops it without draining. SIGHUP: `read_again`.

    The SIGHUP of a terminal that is closed, on which the daemon ran, stops it too.
    """
    loop = asyncio.get_running_loop()
    has_terminal = os.isatty(2)

    def hang_up() -> None:
        if has_terminal and not os.isatty(2):
            stop(signal.SIGHUP.name)
        else:
            read_again()

    def stop(name: str) -> None:
        if daemon.stopping.is_set():
            service.cancel()
        else:
            _log.info("stopping", extra={"signal": name})
            daemon.stopping.set()
            # A process that hangs where Python runs no handlers ends by this alarm.
            signal.alarm(int(daemon.config.drain_s + 2 * _CANCEL_S))

    watched = (signal.SIGTERM, signal.SIGINT)
    for number in watched:
        loop.add_signal_handler(number, stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        signal.alarm(0)
        for number in (*watched, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _until_stopped(daemon: Daemon[C, S], service: asyncio.Future[Any]) -> None:
    """Wait for the end of the service; once it has been told to stop, for ``drain_s`` and no longer."""
    told: asyncio.Future[Any] = asyncio.ensure_future(daemon.stopping.wait())
    await asyncio.wait({service, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if service.done():
        return
    await asyncio.wait({service}, timeout=daemon.config.drain_s)
    if service.done():
        return
    _log.warning("not drained in time", extra={"drain_s": daemon.config.drain_s})
    service.cancel()
    await asyncio.wait({service}, timeout=_CANCEL_S)
    if not service.done():
        _log.error("the service does not let itself be cancelled")
        os._exit(sysexits.SOFTWARE)


def _crashed(error: BaseException) -> int:
    """Say why the service ended: in one sentence if a person can mend it, else as a fault of the program."""
    for leaf in _leaves(error):
        if isinstance(leaf, OperatorError):
            return _failed(leaf)
    _log.critical("crashed", exc_info=error)
    return sysexits.SOFTWARE


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error
