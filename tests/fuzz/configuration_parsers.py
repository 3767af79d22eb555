"""What reads configuration: the files of every daemon, and what the command line lays over them."""

import io
from pathlib import Path
from typing import Final, NamedTuple, cast

from shared_config.errors import ConfigInvalid
from shared_config.loader import describe, load
from shared_config.roster import ROLES, models
from shared_config.toml_lines import split_key
from tests.fuzz.campaign import Parser
from tests.fuzz.mutation import Mutator

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
ODD_VALUES: Final = (
    "",
    "0",
    "-1",
    "1",
    "1.5",
    "inf",
    "nan",
    "1e400",
    "0x_ff",
    "9223372036854775808",
    "9" * 5000,
    "true",
    '""',
    '"0"',
    "'x'",
    '"\\u0000"',
    '"\\ud800"',
    '"""\na\n"""',
    "[]",
    "[[]]",
    "{}",
    "{a.b = 1}",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    '"127.0.0.1:0"',
    '"[::1]:99999"',
    '"http://user:secret@x:99999/?q#f"',
    '"http://["',
    '"' + "02" * 33 + '"',
    '"' + "a" * 3000 + '"',
    "[" * 1500 + "]" * 1500,
    "{a=" * 1500 + "1" + "}" * 1500,
    "[[1, 2], {x = [3]}]",
    '["bc1q"]',
    '"addr()"',
    '"raw(00)"',
    "# nothing",
)
LINES: Final = (
    "[log]",
    "[[issuers]]",
    "[issuers]",
    "[limits]",
    "[bitcoin.rpc]",
    "health_address = 5",
    "a.b.c = 1",
    '"quoted key" = 1',
    "''=1",
    "[]",
    "[a",
    "a = [",
    "=",
    "\ufeff",
    "x" * 5000 + " = 1",
    ".".join("a" * 1500) + " = 1",
    "[" + ".".join("b" * 1500) + "]",
)
OVERRIDES: Final = (
    "health_address=127.0.0.1:1",
    "shared.network=signet",
    "issuers.0.identity=02",
    "log.level=debug",
    "issuers.9.x=1",
    "log=5",
    "shared.bitcoin.rpc_url=[",
    "drain_s=nan",
    "a",
    "=",
    "shared.=1",
)


class File:
    """As much of a path as the loader looks at, with the content in memory."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        self._content = content

    def __str__(self) -> str:
        return self._name

    def exists(self) -> bool:
        return True

    def open(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._content)


class Files(NamedTuple):
    """A daemon's two files and its command line."""

    role: str
    own: bytes
    shared: bytes
    overrides: list[str]


def texts(directory: Path) -> dict[str, tuple[str, str]]:
    """The two files of every daemon."""
    found = {}
    for role in ROLES:
        own, shared = directory / f"{role}.toml", directory / "shared" / f"{models(role).own.side}.toml"
        if own.exists():
            found[role] = (own.read_text(), shared.read_text())
    return found


SAMPLES: Final = tuple(
    (role, *pair) for tree in (CONFIG, CONFIG / "prod") for role, pair in texts(tree).items()
)


def make_files(mutator: Mutator) -> Files:
    role, own, shared = mutator.pick(SAMPLES)
    overrides = [mutator.text(OVERRIDES) for _ in range(mutator.below(3))] if mutator.happens(1 / 4) else []
    return Files(role, damage(own, mutator), damage(shared, mutator), overrides)


def damage(text: str, mutator: Mutator) -> bytes:
    """Other values, other lines, or other bytes."""
    if mutator.happens(1 / 3):
        return text.encode()
    if mutator.happens(1 / 4):
        return mutator.damage([text.encode()])
    lines = text.splitlines()
    for _ in range(1 + mutator.below(3)):
        place = mutator.below(len(lines))
        key, equals, _ = lines[place].partition("=")
        match mutator.below(4):
            case 0:
                lines.insert(place, mutator.pick(LINES))
            case 1:
                lines.insert(place, mutator.pick(lines))
            case _ if equals and not key.startswith("#"):
                lines[place] = f"{key}= {mutator.pick(ODD_VALUES)}"
            case _:
                del lines[place]
        if not lines:
            break
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def read_files(files: Files) -> None:
    """What loads can be shown."""
    own, shared = models(files.role)
    loaded = load(
        own,
        cast("Path", File("own.toml", files.own)),
        shared,
        cast("Path", File("shared.toml", files.shared)),
        overrides=files.overrides,
    )
    describe(loaded)


def read_key(text: str) -> None:
    assert split_key(text)


PARSERS: Final = (
    Parser("configuration-files", make_files, read_files, (ConfigInvalid,)),
    Parser(
        "configuration-keys",
        lambda mutator: mutator.text(['a."b.c".d-e', "'x'.1", "issuers.0.identity"], (".", '"', "'")),
        read_key,
        (ValueError,),
    ),
)
