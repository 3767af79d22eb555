"""Hosts and miners that the operator turns away.

bans = open_bans(daemon, metrics)      # of [ban] and the file that it names; read again on SIGHUP
watch_over(bans, [server])             # hosts, at accept
if bans.bars_miner(user, key): …       # names and keys, when a miner says who it is
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from protocols.ehash.errors import KeyTextError
from protocols.ehash.key_text import parse_identity
from roles.runtime.daemon import Daemon
from roles.runtime.errors import OperatorError
from roles.runtime.peer_server import PeerServer
from shared_config.ban import BanSettings

__all__ = ["BANNED", "BanList", "Bans", "examine_bans", "open_bans", "read_bans", "watch_over"]

BANNED: Final = "banned"
"""The code of every end and refusal by the list."""
MAX_FILE_BYTES: Final = 32 << 20

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Bans:
    """Who is turned away; of hosts the leading bits, by IP version and their number."""

    hosts: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    keys: frozenset[bytes] = frozenset()

    def has_host(self, host: str) -> bool:
        """Whether an address, as a socket tells it, is among the hosts."""
        if not self.hosts:
            return False
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        number, width, version = int(address), address.max_prefixlen, address.version
        return any(
            number >> (width - length) in found
            for (kind, length), found in self.hosts.items()
            if kind == version
        )

    def has_name(self, user: str) -> bool:
        """Whether a user name is, or the account that it is a worker of."""
        return user in self.names or user.partition(".")[0] in self.names


class BanList:
    """The list as it is now; counts whom it has turned away. `changed` are called when it was replaced."""

    def __init__(self, registry: CollectorRegistry, bans: Bans | None = None) -> None:
        self._bans = bans or Bans()
        self._barred = Counter(
            "hashpool_banned",
            "Peers and miners that the operator's list turned away.",
            ["by"],
            registry=registry,
        )
        entries = Gauge("hashpool_ban_entries", "Entries of the operator's list.", registry=registry)
        entries.set_function(lambda: float(self.entries))
        self.changed: list[Callable[[], None]] = []

    @property
    def entries(self) -> int:
        """How many there are."""
        bans = self._bans
        return sum(map(len, bans.hosts.values())) + len(bans.names) + len(bans.keys)

    def replace(self, bans: Bans) -> None:
        """Have another list from now on."""
        self._bans = bans
        for tell in self.changed:
            tell()

    def bars_host(self, host: str) -> bool:
        """Whether a peer's host is turned away."""
        return self._count("host", is_barred=self._bans.has_host(host))

    def bars_miner(self, user: str, key: bytes | None) -> bool:
        """Whether a miner is, by its user name or by the locking key that its work is for."""
        if self._count("name", is_barred=self._bans.has_name(user)):
            return True
        return self._count("key", is_barred=key in self._bans.keys)

    def has_key(self, key: bytes) -> bool:
        """Whether a locking key is turned away; counts nothing, so that each share can be asked about."""
        return key in self._bans.keys

    def _count(self, by: str, *, is_barred: bool) -> bool:
        if is_barred:
            self._barred.labels(by).inc()
        return is_barred


def open_bans(daemon: Daemon[Any, Any], registry: CollectorRegistry) -> BanList:
    """The list of a daemon whose configuration has one; raises OperatorError."""
    bans = BanList(registry, read_bans(daemon.config.ban, daemon.resolve))

    def read_again(config: Any, _shared: Any) -> Callable[[], None]:
        found = read_bans(config.ban, daemon.resolve)
        return lambda: bans.replace(found)

    daemon.reloads.prepare(["ban"], read_again, always=True)
    return bans


def examine_bans(config: Any, find: Callable[[Path], Path]) -> None:
    """Look at the list of a configuration that has one, for ``--check``; raises OperatorError."""
    read_bans(config.ban, find)


def watch_over(bans: BanList, servers: Sequence[PeerServer[Any]]) -> None:
    """Have listeners turn hosts away, also those that are there when the list is read again."""
    for server in servers:
        server.bars = bans.bars_host
        bans.changed.append(server.cut_barred)


def read_bans(settings: BanSettings, resolve: Callable[[Path], Path]) -> Bans:
    """What the settings and their file say; raises OperatorError that names the line that is wrong."""
    hosts: list[Network] = [*settings.hosts]
    miners = [("ban.names", text) for text in settings.names]
    if settings.file is not None:
        for place, text in _lines(resolve(settings.file)):
            network = _network(place, text)
            if network is None:
                miners.append((place, text))
            else:
                hosts.append(network)
    names: set[str] = set()
    keys: set[bytes] = set()
    for place, text in miners:
        key = _key(place, text)
        if key is None:
            names.add(text)
        else:
            keys.add(key)
    return Bans(_by_length(hosts), frozenset(names), frozenset(keys))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    hint = "ban.file names it; the daemon's user must be able to read it"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise OperatorError(f"{path} is longer than {MAX_FILE_BYTES >> 20} MiB")
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise OperatorError(f"{path} is no UTF-8 text") from error
    for number, line in enumerate(content.splitlines(), 1):
        if text := line.partition("#")[0].strip():
            yield f"{path}:{number}", text


def _network(place: str, text: str) -> Network | None:
    """A host or network; None for what is none, as a user name."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        try:
            ipaddress.ip_address(text.partition("/")[0])
        except ValueError:
            return None
        raise OperatorError(f"{place}: {text} is no network: {error}") from error


def _key(place: str, text: str) -> bytes | None:
    try:
        identity = parse_identity(text)
    except KeyTextError as error:
        raise OperatorError(f"{place}: {text}: {error}") from error
    return identity.key


def _by_length(hosts: Iterable[Network]) -> dict[tuple[int, int], set[int]]:
    found: dict[tuple[int, int], set[int]] = {}
    for network in hosts:
        length, width = network.prefixlen, network.max_prefixlen
        bits = int(network.network_address) >> (width - length)
        found.setdefault((network.version, length), set()).add(bits)
    return found
