"""`hashpool up` starts one system at a time, explains what is in its way, and leaves nothing behind."""

import contextlib
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.functional.system import BOUND_S, HOME, POLL_S, System, free_offset, run_cli

pytestmark = [pytest.mark.functional, pytest.mark.timeout(300)]

TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
ROLES = {"regtest_node", "mint", "template_provider", "pool", "proxy", "translator", "cpu_miner"}


def family(state: Path) -> set[int]:
    """Return every process that has the state directory among its arguments, and their children."""
    found: set[int] = set()
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if str(state) in (entry / "cmdline").read_bytes().decode().split("\0"):
                    found.add(int(entry.name))
    return found | {child for child, parent in parents.items() if parent in found}


def wait_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + BOUND_S
    while alive := {pid for pid in pids if is_running(pid)}:
        assert time.monotonic() < deadline, f"processes {alive} are still there"
        time.sleep(POLL_S)


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_outlives_up_however_it_ends(number: signal.Signals, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with System(state) as system:
        system.wait_ready()
        assert set(system.children()) == ROLES
        pids = family(state)
        assert len(pids) > len(ROLES)
        system.process.send_signal(number)
        assert system.process.wait(BOUND_S) == (-number if number is signal.SIGKILL else 0)
        wait_gone(pids)


def test_it_ends_by_itself_after_the_time_that_it_was_given(tmp_path: Path) -> None:
    with System(tmp_path / "state", "--for", "0.1", "--json") as system:
        assert system.result()["audit"]["ok"]
        wait_gone(family(tmp_path / "state"))


def test_everything_ends_when_the_terminal_is_closed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "roles.cli", "up", "--state", str(state)]
    command += ["--port-offset", str(free_offset())]
    up = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *command],
        cwd=HOME,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    deadline = time.monotonic() + BOUND_S
    while b"everything is ready" not in shown:
        assert time.monotonic() < deadline, shown[-2000:]
        shown += os.read(controller, 65536)
    pids = family(state)
    os.close(controller)
    up.wait(BOUND_S)
    wait_gone(pids)


def test_a_second_up_on_the_same_state_says_that_one_is_running(tmp_path: Path) -> None:
    with System(tmp_path / "state") as system:
        system.wait_line("regtest_node")
        done = run_cli("up", "--state", str(tmp_path / "state"), "--port-offset", str(system.offset))
    assert done.returncode == 73
    assert f"already running on {tmp_path / 'state'} (process {system.process.pid})" in done.stderr


def test_a_wrong_file_of_any_daemon_is_told_before_one_is_started(tmp_path: Path) -> None:
    tree, state = tmp_path / "config", tmp_path / "state"
    shutil.copytree(HOME / "config", tree)
    with (tree / "cpu_miner.toml").open("a") as file:
        file.write("\nwrong = 1\n")
    done = run_cli("up", "--config", str(tree), "--state", str(state), "--port-offset", str(free_offset()))
    assert done.returncode == 78
    assert "cpu_miner.toml" in done.stderr
    assert "wrong" in done.stderr
    assert not (state / "logs").exists()


def test_a_taken_port_is_named_with_its_holder_and_the_setting_that_moves_it(tmp_path: Path) -> None:
    offset = free_offset()
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 34254 + offset))
        holder.listen()
        done = run_cli("up", "--state", str(tmp_path / "state"), "--port-offset", str(offset))
    assert done.returncode == 69
    for part in (str(34254 + offset), str(os.getpid()), "listen_address"):
        assert part in done.stderr


def test_status_tells_what_is_up(tmp_path: Path) -> None:
    with System(tmp_path / "state") as system:
        system.wait_ready()
        done = run_cli("status", "--port-offset", str(system.offset))
        assert done.returncode == 0
        assert done.stdout.count("ready") == len(ROLES)
    done = run_cli("status", "--port-offset", str(system.offset))
    assert done.returncode == 1
    assert done.stdout.count("down") == len(ROLES)
