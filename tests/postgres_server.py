"""A PostgreSQL server of the tests' own: a cluster in a temporary directory, on a loopback port.

Where PostgreSQL is not installed its tests are skipped, but not in CI, which installs it.
"""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, Self

import pytest

PACKAGE: Final = "postgresql"
PASSWORD: Final = "no/secret@all"
"""Has what a DSN must escape."""
_START_S: Final = 90.0
_PR_SET_PDEATHSIG: Final = 1


def binaries() -> Path | None:
    """Where PostgreSQL's programs are, the newest version's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: float(each.parts[-3]))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return Path(named).resolve().parent if named else None


def wanted() -> Path:
    """Those programs; skips the test where there are none."""
    found = binaries()
    if found is None:
        reason = f"PostgreSQL is not installed: apt install {PACKAGE}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class PostgresServer:
    """One cluster; it can be killed, stopped for a while and started again."""

    def __init__(self, *, fsync: bool = False) -> None:
        self._bin = wanted()
        self._directory = Path(tempfile.mkdtemp(prefix="hashpool-postgres-"))
        self._fsync = fsync
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self._directory, account.pw_uid, account.pw_gid)
        words = self._directory / "password"
        words.write_text(PASSWORD)
        words.chmod(0o644)
        self._run(
            "initdb",
            *("-D", str(self.data), "-U", "hashpool", "--pwfile", str(words), "-A", "scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        )
        words.unlink()

    @property
    def data(self) -> Path:
        """The cluster's directory."""
        return self._directory / "data"

    @property
    def log(self) -> str:
        """What the server has said."""
        return (self._directory / "log").read_text(errors="replace")

    def start(self) -> Self:
        """Start the server and wait until it takes connections."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._directory,
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
            "max_connections": 120,
            "shared_buffers": "32MB",
            "deadlock_timeout": "100ms",
            "restart_after_crash": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.data), *options],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                user=self._user,
                extra_groups=[] if self._user else None,
                start_new_session=True,
                # It runs after the change of user, which would undo it.
                preexec_fn=_end_with_parent,
            )
        deadline = time.monotonic() + _START_S
        while "accepting connections" not in self._ready():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return self

    def dsn(self, database: str = "postgres") -> str:
        """How to connect, with a password that has signs of its own."""
        words = PASSWORD.replace("/", "%2F").replace("@", "%40")
        return f"postgresql://hashpool:{words}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """The DSN of a new, empty database."""
        self._databases += 1
        name = f"mint{self._databases}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.dsn(name)

    def create_schema(self) -> str:
        """The DSN of a new, empty schema, which takes less time than a database."""
        self._databases += 1
        name = f"mint{self._databases}"
        self.sql(f"CREATE SCHEMA {name}")
        return f"{self.dsn()}?search_path={name}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql answers."""
        return self._run("psql", "-XAt", "-d", self.dsn(database), "-c", statement).decode().strip()

    def dump(self, database: str, file: Path) -> None:
        """Write a backup as pg_dump does."""
        file.write_bytes(self._run("pg_dump", "-Fc", "-d", self.dsn(database)))

    def restore(self, database: str, file: Path) -> None:
        """Fill an empty database from a backup."""
        self._run("pg_restore", "--exit-on-error", "-d", self.dsn(database), given=file.read_bytes())

    def kill(self) -> None:
        """Kill every process of the server, as if the power had gone."""
        if self._process is not None and self._process.poll() is None:
            # The backends are of sessions of their own; without their postmaster they end by themselves.
            children = subprocess.run(
                ["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=False
            ).stdout.split()
            self._process.send_signal(signal.SIGKILL)
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
            self._process.wait()

    def stop_at_once(self) -> None:
        """Stop as `pg_ctl -m immediate` does: no checkpoint, recovery at the next start."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_START_S)

    def close(self) -> None:
        """Kill and remove all of it."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> str:
        return subprocess.run(
            [str(self._bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    def _run(self, program: str, *arguments: str, given: bytes = b"") -> bytes:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            input=given,
            capture_output=True,
            cwd=self._directory,
            user=self._user,
            extra_groups=[] if self._user else None,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout


def _end_with_parent() -> None:
    """Have the kernel kill the server when the tests are killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
