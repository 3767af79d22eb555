"""Nothing that is worth money stands in what daemons tell: looked for when a functional test ends.

What is secret is read from the stores (files and PostgreSQL databases) and key files that the daemons leave
behind (every column is, unless it is known to be public), and from what test clients have noted. What was
told is their logs, over all their lives, and their last metrics and readiness.
"""

import contextlib
import re
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from roles.mint.store import find_store
from roles.runtime.errors import OperatorError
from roles.runtime.storage import Connection, Server, open_readonly

PUBLIC: Final = frozenset(
    {
        "action",
        "amounts",
        "detail",
        "digest",
        "expression",
        "form",
        "hash",
        "header",
        "id",
        "identity",
        "key",
        "keys",
        "keyset_id",
        "kind",
        "method",
        "mint_url",
        "name",
        "path",
        "peer",
        "pubkey",
        "public_key",
        "purpose",
        "quote_key",
        "reason",
        "relation",
        "scope",
        "seed_fingerprint",
        "share_hash",
        "source",
        "state",
        "status",
        "store_id",
        "subject",
        "target",
        "tip",
        "unit",
        "url",
        "verdict",
        "work_level",
    }
)
"""Names of columns that anybody may know."""

ROLES: Final = ("mint", "proxy", "sv1_proxy-miner", "wallet")
"""Whose stores hold what is worth money; the pool's ledger knows public keys only."""

PROBE: Final = 24
"""Characters of a secret that are looked for: a part of it would be too much, too."""

_SQLITE_TABLES: Final = "SELECT name FROM sqlite_schema WHERE type = 'table'"
_POSTGRESQL_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
_RUN: Final = re.compile(rf"[0-9A-Za-z+/=_-]{{{PROBE},}}")
_TOKEN: Final = re.compile(r"cashu[AB][0-9A-Za-z_=-]{20,}")
_KEY_FILES: Final = ("*.key", "*.token", "*.words", ".cookie", "*.pem")
_HEX: Final = re.compile(r"[0-9a-f]{64,}")
_ID: Final = re.compile(r'"id": ?"[0-9a-f]+"')
"""A keyset's, which anybody may know."""

_noted: dict[str, str] = {}


def note(what: str, *secrets: str | bytes) -> None:
    """Have a test client's secrets looked for as well, in everything that ends from now on."""
    for secret in secrets:
        for probe in probes(secret):
            _noted[probe] = what


def probes(secret: str | bytes) -> Iterator[str]:
    """The texts by which a secret is known: the beginning of the longest part without a break, in hex for
    bytes; nothing for what is too short to be told from chance.
    """
    text = secret.hex() if isinstance(secret, bytes) else secret
    runs = _RUN.findall(text)
    if runs:
        yield max(runs, key=len)[:PROBE]


def of_state(state: Path) -> dict[str, str]:
    """Probe to the name of every secret in a state directory."""
    found: dict[str, str] = {}
    for pattern in _KEY_FILES:
        for path in state.glob(f"*/{pattern}"):
            for line in path.read_text(errors="replace").splitlines():
                # Words are told apart by blanks: the beginning of the phrase stands for it.
                found |= dict.fromkeys(probes(line), path.name)
                if len(words := line.split()) >= 12:
                    found[" ".join(words[:4])] = path.name
    for role in ROLES:
        for path in state.glob(f"{role}/*.sqlite"):
            # A test may have damaged it on purpose.
            with contextlib.suppress(OperatorError), open_readonly(path) as connection:
                found |= _of_store(connection, _SQLITE_TABLES)
    server = find_store(state / "mint")
    if isinstance(server, Server):
        password = urlsplit(server.dsn).password or ""
        found |= dict.fromkeys({password, unquote(password)} - {""}, "the store's password")
        with open_readonly(server) as connection:
            found |= _of_store(connection, _POSTGRESQL_TABLES)
    return found


def leaks(told: Mapping[str, str], secrets: Mapping[str, str]) -> list[str]:
    """Which secrets stand in texts, by the names of both; never the secrets themselves."""
    whole = [probe for probe in secrets if not _RUN.fullmatch(probe)]
    found = set()
    for where, text in told.items():
        if _TOKEN.search(text):
            found.add(f"a token in {where}")
        for run in _RUN.findall(text):
            for start in range(len(run) - PROBE + 1):
                name = secrets.get(run[start : start + PROBE])
                if name is not None:
                    found.add(f"{name} in {where}")
        found |= {f"{secrets[probe]} in {where}" for probe in whole if probe in text}
    return sorted(found)


def check(state: Path, told: Mapping[str, str]) -> None:
    """Raises AssertionError when daemons have told what is worth money; see `leaks`."""
    found = leaks(told, _noted | of_state(state))
    assert not found, f"secrets were told: {', '.join(found)}"


def pages(addresses: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Metrics and readiness of daemons that run, by name and health address."""
    told = {}
    for name, address in addresses:
        for page in ("metrics", "ready"):
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{address}/{page}", timeout=10) as answer,
            ):
                told[f"/{page} of {name}"] = answer.read().decode()
    return told


def logs(directory: Path) -> dict[str, str]:
    """All logs of a directory."""
    return {path.name: path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()}


def _of_store(connection: Connection, listing: str) -> dict[str, str]:
    found: dict[str, str] = {}
    tables = connection.execute(listing).fetchall()
    for (table,) in [tuple(row) for row in tables]:
        cursor = connection.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in cursor.description]
        secret = [(place, name) for place, name in enumerate(names) if name not in PUBLIC]
        for row in cursor:
            for place, name in secret:
                value = row[place]
                if isinstance(value, str | bytes):
                    found |= dict.fromkeys(_of_value(value), f"{table}.{name}")
    return found


def _of_value(value: str | bytes) -> Iterator[str]:
    """Of JSON, which requests are kept as, all that is long and hex; else the value itself."""
    try:
        text = value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        text = ""
    if text.startswith(("{", "[")):
        for part in _HEX.findall(_ID.sub("", text)):
            yield part[:PROBE]
    else:
        yield from probes(value)
