import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from roles.proxy import __main__ as proxy
from roles.runtime import sysexits
from roles.translator import __main__ as translator

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-W", "error", str(Path(__file__).with_name("sample_daemon.py"))]


class Running:
    """A sample daemon, and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""

    @property
    def errors(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr

    def health(self) -> str:
        """The health address that it logs first."""
        while (found := re.search(r"health=(http://\S+)", self.said)) is None:
            line = self.errors.readline()
            assert line, self.said
            self.said += line
        return found[1]

    def until_ready(self) -> None:
        url = self.health() + "/ready"
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(url, timeout=30):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                assert time.monotonic() < deadline

    def until_said(self, text: str, after: signal.Signals | None = None) -> None:
        """Wait for a line with a text; from when a signal was sent, if one is given."""
        if after is not None:
            self.process.send_signal(after)
        while text not in self.said:
            line = self.errors.readline()
            assert line, self.said
            self.said += line

    def end(self) -> int:
        output, errors = self.process.communicate(timeout=120)
        self.said += errors + output
        return self.process.returncode


def command(state: Path, user: str, *arguments: str) -> list[str]:
    config = ROOT / "config" / "cpu_miner.toml"
    settings = ["--set", "health_address=127.0.0.1:0", "--set", f"user={user}"]
    return [*PROGRAM, "-c", str(config), "--state", str(state), *settings, *arguments]


@contextmanager
def started(state: Path, user: str = "work", *arguments: str, loop: str = "uvloop") -> Iterator[Running]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HASHPOOL_LOOP": loop}
    environment.pop("CREDENTIALS_DIRECTORY", None)
    with subprocess.Popen(
        command(state, user, *arguments),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def finished(state: Path, user: str = "work", *arguments: str) -> Running:
    with started(state, user, *arguments) as daemon:
        daemon.end()
    return daemon


def test_daemons_of_thousands_of_miners_seldom_stop_to_look_for_circles() -> None:
    assert proxy.SPEC.serves_crowds
    assert translator.SPEC.serves_crowds


@pytest.mark.parametrize(("loop", "module"), [("uvloop", "uvloop"), ("asyncio", "asyncio.unix_events")])
def test_a_daemon_serves_until_sigterm_and_then_drains(tmp_path: Path, loop: str, module: str) -> None:
    with started(tmp_path, loop=loop) as daemon:
        daemon.until_ready()
        with urllib.request.urlopen(daemon.health() + "/metrics") as reply:
            assert b"hashpool_ready 1.0" in reply.read()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.end() == sysexits.OK
    assert "msg=stopping signal=SIGTERM" in daemon.said
    assert f"0 {module} 4000\ndrained\n" in daemon.said
    assert (tmp_path / "cpu_miner").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "cpu_miner" / "made").stat().st_mode & 0o777 == 0o600


def test_a_daemon_says_which_kernel_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHPOOL_KERNEL", "off")
    with started(tmp_path) as daemon:
        daemon.until_ready()
        with urllib.request.urlopen(daemon.health() + "/metrics") as reply:
            assert b'hashpool_kernel{name="python"} 1.0' in reply.read()
    assert re.search("msg=starting .*kernel=python", daemon.said)


def test_a_kernel_that_is_none_is_refused_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHPOOL_KERNEL", "fast")
    daemon = finished(tmp_path)
    assert daemon.process.returncode == sysexits.USAGE
    assert 'hint="it may be on or off"' in daemon.said


def test_a_service_that_does_not_drain_is_cancelled_in_bounded_time(tmp_path: Path) -> None:
    with started(tmp_path, "stubborn", "--set", "drain_s=0.05") as daemon:
        daemon.until_ready()
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.end() == sysexits.OK
    assert 'msg="not drained in time"' in daemon.said


def test_a_second_signal_stops_without_draining(tmp_path: Path) -> None:
    with started(tmp_path, "stubborn", "--set", "drain_s=60") as daemon:
        daemon.until_ready()
        daemon.process.send_signal(signal.SIGTERM)
        while "msg=stopping" not in daemon.said:
            daemon.said += daemon.errors.readline()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.end() == sysexits.OK


def test_a_fault_of_the_program_ends_it_with_a_trace_of_where(tmp_path: Path) -> None:
    daemon = finished(tmp_path, "crash")
    assert daemon.process.returncode == sysexits.SOFTWARE
    assert re.search(r"msg=crashed .*ZeroDivisionError: a fault \[\w+/sample_daemon.py:\d+\]", daemon.said)


def test_what_a_person_can_mend_ends_it_in_words_with_the_cure(tmp_path: Path) -> None:
    daemon = finished(tmp_path, "refuse")
    assert daemon.process.returncode == sysexits.CONFIG
    assert 'msg="the mint is on the moon" hint="bring it back" exit_code=78' in daemon.said
    assert "sample_daemon.py" not in daemon.said


def test_a_crash_point_that_is_none_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHPOOL_CRASH_AT", "pool.share-durable")
    daemon = finished(tmp_path)
    assert daemon.process.returncode == sysexits.CONFIG
    assert "did you mean pool.shares-durable?" in daemon.said


def test_a_service_that_ends_untold_is_a_fault(tmp_path: Path) -> None:
    daemon = finished(tmp_path, "end")
    assert daemon.process.returncode == sysexits.SOFTWARE
    assert 'msg="the service ended by itself"' in daemon.said


def test_a_health_port_in_use_names_port_holder_and_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        daemon = finished(tmp_path, "work", "--set", f"health_address=127.0.0.1:{port}")
    assert daemon.process.returncode == sysexits.UNAVAILABLE
    assert f"port {port} of 127.0.0.1 is in use by process {os.getpid()} (" in daemon.said
    assert 'hint="stop that program, or move this daemon with health_address"' in daemon.said


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    daemon = finished(tmp_path / "file")
    assert daemon.process.returncode == sysexits.CANT_CREATE
    assert "--state" in daemon.said


def test_check_says_that_the_configuration_is_sound_and_starts_nothing(tmp_path: Path) -> None:
    daemon = finished(tmp_path, "work", "--check")
    assert daemon.process.returncode == sysexits.OK
    assert "are sound" in daemon.said
    assert list(tmp_path.iterdir()) == []


def test_check_lists_every_problem_and_exits_as_sysexits_say(tmp_path: Path) -> None:
    daemon = finished(tmp_path, "work", "--check", "--set", "processes=0", "--set", "shared.hold_s=-1")
    assert daemon.process.returncode == sysexits.CONFIG
    assert "processes = 0: must be at least 1" in daemon.said
    assert "hold_s = -1: must be a number of seconds" in daemon.said


def test_what_only_the_operator_can_fill_in_is_wanted_before_a_start(tmp_path: Path) -> None:
    settings = ["--set", "protocol=sv2", "--set", "address=pool.example.org:34254"]
    daemon = finished(tmp_path, "work", *settings)
    assert daemon.process.returncode == sysexits.CONFIG
    assert "authority_key: is missing" in daemon.said


def test_print_config_shows_each_value_with_its_origin(tmp_path: Path) -> None:
    daemon = finished(tmp_path, "work", "--print-config")
    assert daemon.process.returncode == sysexits.OK
    assert 'user = "work"  # --set' in daemon.said
    assert "drain_s = 10.0  # default" in daemon.said
    assert re.search(r'protocol = "sv1"  # \S+/config/cpu_miner.toml:2\n', daemon.said)


def test_a_daemon_whose_parent_has_gone_does_not_start(tmp_path: Path) -> None:
    daemon = finished(tmp_path, "work", "--die-with-parent", "1")
    assert daemon.process.returncode == sysexits.OK
    assert daemon.said == ""


def test_a_daemon_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    child = command(tmp_path, "stubborn", "--set", "drain_s=0", "--die-with-parent")
    parent = f"import os, subprocess; subprocess.run({child!r} + [str(os.getpid())])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        daemon = Running(process)
        daemon.until_ready()
        process.kill()
        # The pipe closes when the last process that holds it is gone: the daemon itself.
        assert "msg=stopping signal=SIGTERM" in daemon.errors.read()


def test_logs_can_be_json(tmp_path: Path) -> None:
    daemon = finished(tmp_path, "refuse", "--set", "log.format=json")
    lines = [json.loads(line) for line in daemon.said.splitlines()]
    assert [line["msg"] for line in lines] == ["starting", "the mint is on the moon"]


def test_sighup_has_the_configuration_read_again_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "cpu_miner.toml"
    sound = (ROOT / "config" / "cpu_miner.toml").read_text()
    config.write_text(sound)
    shared = ["-g", str(ROOT / "config" / "shared" / "miner.toml")]
    with started(tmp_path, "work", "-c", str(config), *shared) as daemon:
        daemon.until_ready()
        config.write_text(sound.replace("processes = ", "processes = 1") + '[log]\nformat = "json"\n')
        daemon.until_said("configuration was read again", signal.SIGHUP)
        daemon.until_said('"setting": "processes"')
        config.write_text(sound + "processors = 2\n")
        daemon.until_said("nothing was changed", signal.SIGHUP)
        assert "processors" in daemon.said
        with urllib.request.urlopen(daemon.health() + "/metrics") as reply:
            counted = reply.read()
        assert b'hashpool_reloads_total{result="taken"} 1.0' in counted
        assert b'hashpool_reloads_total{result="refused"} 1.0' in counted
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.end() == sysexits.OK
