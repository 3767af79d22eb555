"""The daemons of `hashpool up`: their order, their files, and the settings that make them one system."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from roles.cli.supervisor import Member
from shared_config.document import Document
from shared_config.errors import ConfigInvalid, Problem
from shared_config.loader import load
from shared_config.roster import models, package
from shared_config.toml_lines import key_path


@dataclass(frozen=True)
class Profile:
    """A system that can be started: its daemons, with those that must be ready before each is.

    `issuer` keeps the ledger, `wallet` what miners earn, `server` is what SV1 miners are pointed at.
    """

    name: str
    needs: Mapping[str, tuple[str, ...]]
    issuer: str
    wallet: str
    server: str


SV2: Final = Profile(
    "sv2",
    {
        "regtest_node": (),
        "mint": (),
        "template_provider": ("regtest_node",),
        "pool": ("template_provider", "mint"),
        "proxy": ("pool", "mint"),
        "translator": ("proxy",),
        "cpu_miner": ("translator",),
    },
    issuer="pool",
    wallet="proxy",
    server="translator",
)
SV1: Final = Profile(
    "sv1",
    {
        "regtest_node": (),
        "mint": (),
        "solo_pool": ("regtest_node",),
        "sv1_proxy_pool": ("solo_pool", "mint"),
        "sv1_proxy_miner": ("sv1_proxy_pool", "mint"),
        "cpu_miner": ("sv1_proxy_miner",),
    },
    issuer="sv1_proxy_pool",
    wallet="sv1_proxy_miner",
    server="sv1_proxy_miner",
)
PROFILES: Final = {profile.name: profile for profile in (SV2, SV1)}
SIDES: Final = {
    "regtest_node": "pool",
    "mint": "pool",
    "template_provider": "pool",
    "pool": "pool",
    "proxy": "miner",
    "translator": "miner",
    "cpu_miner": "miner",
    "solo_pool": "pool",
    "sv1_proxy_pool": "pool",
    "sv1_proxy_miner": "miner",
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
    "sv1_proxy_pool": ("listen_address", "health_address"),
    "sv1_proxy_miner": ("listen_address", "health_address", "wallet_api.address"),
}
PEERS: Final[dict[str, tuple[str, ...]]] = {
    "sv1_proxy_pool": ("pools.0.address",),
    "sv1_proxy_miner": ("pools.0.address",),
}
"""Addresses of others in daemons' own files."""
SHARED_ADDRESSES: Final = {
    "pool": ("bitcoin.rpc_url", "mint.url", "mint.issuance_address", "template_provider.address"),
    "miner": ("pool.address", "mint.url", "proxy.address"),
}
PORT: Final = re.compile(r":(\d{1,5})(?=/|$)")


@dataclass(frozen=True)
class PublicHalves:
    """The keys that daemons know each other by: authority keys as text, issuers' identities as hex by role.

    Empty are those of daemons that have none, or are not of the system.
    """

    mint: str
    template_provider: str = ""
    pool: str = ""
    proxy: str = ""
    issuer: str = ""
    sv1_issuer: str = ""


class Fleet:
    """A tree of configuration files with a port offset and a state directory laid over it.

    Raises ConfigInvalid, also in its methods: for a file that cannot be read, and for the few values that are
    needed before the daemons themselves read their files.
    """

    def __init__(
        self, tree: Path, state: Path, offset: int, keys: PublicHalves, profile: Profile = SV2
    ) -> None:
        self._tree = tree
        self._state = state
        self._offset = offset
        self._profile = profile
        self._own = documents({role: tree / f"{role}.toml" for role in profile.needs})
        self._shared = documents({side: tree / "shared" / f"{side}.toml" for side in SHARED_ADDRESSES})
        self._keys = keys

    def members(self) -> list[Member]:
        """Return the daemons in the order in which they are listed to people."""
        return [self._member(role) for role in self._profile.needs]

    def check(self) -> None:
        """Raise ConfigInvalid with all that would keep a daemon of the system from starting."""
        problems: list[Problem] = []
        for role in self._profile.needs:
            own, shared = models(role)
            own_file, shared_file = self._files(role)
            laid_over = [f"{key}={value}" for key, value in self._settings(role, SIDES[role])]
            try:
                found = load(own, own_file, shared, shared_file, overrides=laid_over).wanted
            except ConfigInvalid as error:
                found = error.problems
            problems += (problem for problem in found if problem not in problems)
        if problems:
            raise ConfigInvalid(problems)

    def health_url(self, role: str) -> str:
        """Return where a daemon tells of its health."""
        return f"http://{self.address(role, 'health_address')}"

    def address(self, role: str, key: str) -> str:
        """Return an address of a daemon's own file, moved by the port offset."""
        return shifted(text_at(self._own[role], key), self._offset)

    def shared_address(self, side: str, key: str) -> str:
        """Return an address of a shared file, moved by the port offset."""
        return shifted(text_at(self._shared[side], key), self._offset)

    def _member(self, role: str) -> Member:
        own, shared = self._files(role)
        command = [
            sys.executable, "-m", f"roles.{package(role)}",
            "-c", str(own), "-g", str(shared), "--state", str(self._state),
        ]  # fmt: skip
        for key, value in self._settings(role, SIDES[role]):
            command += ["--set", f"{key}={value}"]
        return Member(role, tuple(command), self.health_url(role), self._profile.needs[role])

    def _files(self, role: str) -> tuple[Path, Path]:
        """A daemon's own file and the one that its side shares."""
        return self._tree / f"{role}.toml", self._tree / "shared" / f"{SIDES[role]}.toml"

    def _settings(self, role: str, side: str) -> Iterator[tuple[str, str]]:
        profile, keys = self._profile, self._keys
        if self._offset:
            # What a file leaves out is off, or missed by the daemon that reads it.
            for key in (*ADDRESSES[role], *PEERS.get(role, ())):
                if self._own[role].holds(key_path(key)):
                    yield key, self.address(role, key)
            for key in SHARED_ADDRESSES[side]:
                if self._shared[side].holds(key_path(key)):
                    yield f"shared.{key}", self.shared_address(side, key)
        if role == "cpu_miner" and profile is not SV2:
            yield "address", self.address(profile.server, "listen_address")
        known = (
            {"mint": keys.mint, "template_provider": keys.template_provider}
            if side == "pool"
            else {"pool": keys.pool, "proxy": keys.proxy}
        )
        for peer, key in known.items():
            if key:
                yield f"shared.{peer}.authority_key", key
        if role == "mint":
            yield "issuers", f"[{self._issuer()}]"

    def _issuer(self) -> str:
        """The issuer of the system as the mint's file names it."""
        if self._profile is SV1:
            return f'{{identity = "{self._keys.sv1_issuer}", reward = "payments"}}'
        script = text_at(self._own["mint"], "issuers.0.reward_script")
        return f'{{identity = "{self._keys.issuer}", reward_script = "{script}"}}'


def health_address(tree: Path, role: str, offset: int) -> str:
    """Return a daemon's health address, from its file and the port offset; raises ConfigInvalid."""
    return shifted(text_at(Document.read(tree / f"{role}.toml"), "health_address"), offset)


def documents(paths: Mapping[str, Path]) -> dict[str, Document]:
    """Read files as they are; the daemons check what they say.

    Raises ConfigInvalid, with a problem for each that cannot be read.
    """
    read: dict[str, Document] = {}
    problems: list[Problem] = []
    for name, path in paths.items():
        try:
            read[name] = Document.read(path)
        except ConfigInvalid as error:
            problems += error.problems
    if problems:
        raise ConfigInvalid(problems)
    return read


def text_at(document: Document, key: str) -> str:
    """Return the text at a dotted key, whose numbers stand for elements of arrays; raises ConfigInvalid."""
    path = key_path(key)
    value = document.value(path) if document.holds(path) else None
    if not isinstance(value, str):
        reason = "is missing" if value is None else "must be text in quotes"
        raise ConfigInvalid([document.problem(path, reason)])
    return value


def shifted(address: str, offset: int) -> str:
    """Return an address or URL with its port moved by the offset."""
    return PORT.sub(lambda port: f":{int(port[1]) + offset}", address, count=1)
