"""`hashpool keys`: make the daemons' keys, and show their public halves as the peers' files want them."""

import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from protocols.bitcoin import secp256k1
from protocols.noise.authority import encode_public, public_of
from roles.cli.checkout import STATE_HELP
from roles.cli.fleet import SV2, Profile, PublicHalves
from roles.credit import issuer_key
from roles.runtime import authority
from roles.runtime.arguments import Arguments
from roles.runtime.errors import OperatorError
from roles.runtime.secret import SecretFile
from roles.runtime.state import role_state, state_root
from shared_config.roster import directory

SEED_FILE: Final = "seed.key"
WORDS_FILE: Final = "seed.words"


@dataclass(frozen=True)
class PublicHalf:
    """A public key, where it belongs, and how it is written there."""

    role: str
    kind: str
    text: str
    table: str
    key: str
    goes_into: str

    def snippet(self) -> str:
        """Return the lines of TOML that a peer's file needs."""
        return f'# {self.goes_into}\n{self.table}\n{self.key} = "{self.text}"\n'


Shower = Callable[[Path], PublicHalf]


def authority_half(role: str, table: str, goes_into: str) -> Shower:
    """Return what shows a role's authority key, which is made when there is none."""

    def show(state: Path) -> PublicHalf:
        secret = authority.authority_secret(role_state(state, role))
        return PublicHalf(
            role, "authority", encode_public(public_of(secret)), table, "authority_key", goes_into
        )

    return show


def issuer_half(role: str) -> Shower:
    """Return what shows an issuer's identity, which is made when there is none."""

    def show(state: Path) -> PublicHalf:
        secret = issuer_key.issuer_secret(role_state(state, directory(role)))
        text = secp256k1.public_key(secret).hex()
        return PublicHalf(role, "identity", text, "[[issuers]]", "identity", "mint.toml, at the mint")

    return show


HALVES: Final[dict[str, tuple[Shower, ...]]] = {
    "template_provider": (
        authority_half("template_provider", "[template_provider]", "shared/pool.toml, at the pool"),
    ),
    "pool": (
        authority_half("pool", "[pool]", "shared/miner.toml, at every miner: publish it"),
        issuer_half("pool"),
    ),
    "mint": (authority_half("mint", "[mint]", "shared/pool.toml, at the pool"),),
    "proxy": (authority_half("proxy", "[proxy]", "shared/miner.toml, at translators and SV2 miners"),),
    "sv1_proxy_pool": (issuer_half("sv1_proxy_pool"),),
    "sv1_proxy_miner": (),
}
FILES: Final[dict[str, tuple[str, ...]]] = {
    "template_provider": (authority.FILE_NAME,),
    "pool": (authority.FILE_NAME, issuer_key.FILE_NAME),
    "mint": (authority.FILE_NAME, SEED_FILE),
    "proxy": (authority.FILE_NAME, WORDS_FILE),
    "sv1_proxy_pool": (issuer_key.FILE_NAME,),
    "sv1_proxy_miner": (WORDS_FILE,),
}
WALLETS: Final = ("proxy", "sv1_proxy_miner")
ALONE: Final = ("sv1_proxy_pool", "sv1_proxy_miner")
"""Those that take the place of all SV2 daemons: they have keys only where they are asked for or have run."""


def public_halves(state: Path, profile: Profile = SV2) -> PublicHalves:
    """Return the keys that daemons of a system know each other by, made where there are none.

    Raises OperatorError.
    """
    roles = [role for role in HALVES if role in profile.needs]
    texts = {(half.role, half.kind): half.text for role in roles for half in show_role(state, role)}
    return PublicHalves(
        mint=texts["mint", "authority"],
        template_provider=texts.get(("template_provider", "authority"), ""),
        pool=texts.get(("pool", "authority"), ""),
        proxy=texts.get(("proxy", "authority"), ""),
        issuer=texts.get(("pool", "identity"), ""),
        sv1_issuer=texts.get(("sv1_proxy_pool", "identity"), ""),
    )


def show_role(state: Path, role: str) -> list[PublicHalf]:
    """Return the public halves of a role's keys, made where there are none; raises OperatorError."""
    return [shower(state) for shower in HALVES[role]]


def make(state: Path, role: str) -> list[Path]:
    """Make what keys and seeds a role lacks and return the new files; raises OperatorError."""
    place = role_state(state, directory(role))
    lacking = [place / name for name in FILES[role] if SecretFile(place / name).load() is None]
    show_role(state, role)
    if role == "mint":
        SecretFile(place / SEED_FILE, store=place / "mint.sqlite").load_or_create_bytes(
            32, lambda: secrets.token_bytes(32)
        )
    if role in WALLETS:
        from roles.wallet.seed import ENTROPY_SIZE, words_from_entropy

        SecretFile(place / WORDS_FILE, store=place / "wallet.sqlite").load_or_create(
            lambda: words_from_entropy(secrets.token_bytes(ENTROPY_SIZE))
        )
    return lacking


def missing(state: Path, role: str) -> list[Path]:
    """Return the files of keys with a public half that a role does not have yet."""
    names = (authority.FILE_NAME, issuer_key.FILE_NAME)
    wanted = [state / directory(role) / name for name in FILES[role] if name in names]
    return [path for path in wanted if SecretFile(path).load() is None]


def main(argv: list[str]) -> int:
    """Make or show keys; returns 0, or the exit code of what went wrong."""
    parser = Arguments(
        prog="hashpool keys",
        description="Make the daemons' keys, and show which public key goes where.",
        epilog="Secrets never leave the state directory: back it up, and the proxy's seed.words first.",
    )
    parser.add_argument(
        "action", choices=("init", "show"), help="make what is missing, or show what is there"
    )
    parser.add_argument("role", nargs="?", choices=tuple(HALVES), help="one daemon; all by default")
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    parser.add_argument("--json", action="store_true", help="print one object on one line")
    given = parser.parse_intermixed_args(argv)
    state = state_root(given.state)
    os.umask(0o077)
    try:
        roles = [role for role in HALVES if role not in ALONE or (state / directory(role)).exists()]
        return act(given.action, [given.role] if given.role else roles, state, given.json)
    except OperatorError as error:
        print(f"hashpool keys: {error}", file=sys.stderr)
        return error.exit_code


def act(action: str, roles: list[str], state: Path, as_json: bool) -> int:
    """Do what was asked for and print it."""
    if action == "init":
        for role in roles:
            for path in make(state, role):
                print(f"made {path}", file=sys.stderr)
    absent = [path for role in roles for path in missing(state, role)]
    if absent:
        raise OperatorError(
            "there is no key yet at " + ", ".join(map(str, absent)), hint="make them with hashpool keys init"
        )
    halves = [half for role in roles for half in show_role(state, role)]
    if as_json:
        told: dict[str, dict[str, str]] = {}
        for half in halves:
            told.setdefault(half.role, {})[half.kind] = half.text
        print(orjson.dumps(told).decode())
    else:
        print("\n".join(half.snippet() for half in halves), end="")
    return 0
