"""The daemons of `hashpool up`: their order, their files, and the settings that make them one system."""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from roles.cli.supervisor import Member

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "regtest_node": (),
    "mint": (),
    "template_provider": ("regtest_node",),
    "pool": ("template_provider", "mint"),
    "proxy": ("pool", "mint"),
    "translator": ("proxy",),
    "cpu_miner": ("translator",),
}
"""Every daemon of the development system, with those that must be ready before it is started."""

SIDES: Final = {
    "regtest_node": "pool",
    "mint": "pool",
    "template_provider": "pool",
    "pool": "pool",
    "proxy": "miner",
    "translator": "miner",
    "cpu_miner": "miner",
    "solo_pool": "pool",
}
ADDRESSES: Final[dict[str, tuple[str, ...]]] = {
    "regtest_node": ("rpc_address", "health_address"),
    "mint": ("http_address", "issuance_address", "health_address"),
    "template_provider": ("listen_address", "health_address"),
    "pool": ("listen_address", "health_address"),
    "proxy": ("listen_address", "health_address", "wallet_api.address"),
    "translator": ("listen_address", "health_address"),
    "cpu_miner": ("address", "health_address"),
    "solo_pool": ("listen_address", "health_address"),
}
SHARED_ADDRESSES: Final = {
    "pool": ("bitcoin.rpc_url", "mint.url", "mint.issuance_address", "template_provider.address"),
    "miner": ("pool.address", "mint.url", "proxy.address"),
}
PORT: Final = re.compile(r":(\d{1,5})(?=/|$)")


@dataclass(frozen=True)
class PublicHalves:
    """The keys that daemons know each other by: authority keys as text, the issuer's identity as hex."""

    template_provider: str
    pool: str
    mint: str
    proxy: str
    issuer: str


class Fleet:
    """A tree of configuration files with a port offset and a state directory laid over it."""

    def __init__(self, tree: Path, state: Path, offset: int, keys: PublicHalves) -> None:
        self._tree = tree
        self._state = state
        self._offset = offset
        self._own = {role: read_toml(tree / f"{role}.toml") for role in NEEDS}
        self._shared = {side: read_toml(tree / "shared" / f"{side}.toml") for side in SHARED_ADDRESSES}
        self._keys = keys

    def members(self) -> list[Member]:
        """Return the daemons in the order in which they are listed to people."""
        return [self._member(role) for role in NEEDS]

    def health_url(self, role: str) -> str:
        """Return where a daemon tells of its health."""
        return f"http://{self.address(role, 'health_address')}"

    def address(self, role: str, key: str) -> str:
        """Return an address of a daemon's own file, moved by the port offset."""
        return shifted(str(find(self._own[role], key)), self._offset)

    def shared_address(self, side: str, key: str) -> str:
        """Return an address of a shared file, moved by the port offset."""
        return shifted(str(find(self._shared[side], key)), self._offset)

    def _member(self, role: str) -> Member:
        side = SIDES[role]
        command = [
            sys.executable, "-m", f"roles.{role}",
            "-c", str(self._tree / f"{role}.toml"),
            "-g", str(self._tree / "shared" / f"{side}.toml"),
            "--state", str(self._state),
        ]  # fmt: skip
        for key, value in self._settings(role, side):
            command += ["--set", f"{key}={value}"]
        return Member(role, tuple(command), self.health_url(role), NEEDS[role])

    def _settings(self, role: str, side: str) -> Iterator[tuple[str, str]]:
        if self._offset:
            yield from ((key, self.address(role, key)) for key in ADDRESSES[role])
            yield from ((f"shared.{key}", self.shared_address(side, key)) for key in SHARED_ADDRESSES[side])
        keys = self._keys
        if side == "pool":
            yield "shared.mint.authority_key", keys.mint
            yield "shared.template_provider.authority_key", keys.template_provider
        else:
            yield "shared.pool.authority_key", keys.pool
            yield "shared.proxy.authority_key", keys.proxy
        if role == "mint":
            script = self._own["mint"]["issuers"][0]["reward_script"]
            yield "issuers", f'[{{identity = "{keys.issuer}", reward_script = "{script}"}}]'


def health_address(tree: Path, role: str, offset: int) -> str:
    """Return a daemon's health address, from its file and the port offset."""
    return shifted(str(find(read_toml(tree / f"{role}.toml"), "health_address")), offset)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file as it is; the daemons check what it says."""
    with path.open("rb") as file:
        return tomllib.load(file)


def find(table: Mapping[str, Any], dotted: str) -> Any:
    """Return the value of a dotted key."""
    for part in dotted.split("."):
        table = table[part]
    return table


def shifted(address: str, offset: int) -> str:
    """Return an address or URL with its port moved by the offset."""
    return PORT.sub(lambda port: f":{int(port[1]) + offset}", address, count=1)
