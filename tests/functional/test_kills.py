"""Any daemon may be killed while it mines: it comes back, nothing is lost or doubled, and miners stay."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import Self

import pytest

from tests.functional.system import System, run_cli

pytestmark = [pytest.mark.functional, pytest.mark.timeout(400)]

ORDER = ("mint", "template_provider", "pool", "regtest_node", "proxy", "cpu_miner", "translator")
KEEPS_MINERS = {"mint", "template_provider", "pool", "regtest_node", "proxy"}


class QuietMiner:
    """A fake SV1 miner that only keeps its connection and reads."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._file = self._socket.makefile("r", encoding="utf-8")
        self._say(1, "mining.subscribe", ["quiet/1.0"])
        self._answer(1)
        self._say(2, "mining.authorize", ["quiet", "x"])
        assert self._answer(2)["result"] is True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def _say(self, number: int, method: str, params: list[str]) -> None:
        line = json.dumps({"id": number, "method": method, "params": params}) + "\n"
        self._socket.sendall(line.encode())

    def _answer(self, number: int) -> dict[str, object]:
        while True:
            line = self._file.readline()
            assert line, "the connection was closed"
            message: dict[str, object] = json.loads(line)
            if message.get("id") == number and "method" not in message:
                return message

    def wait_clean_work(self) -> None:
        """Wait for a notify that drops earlier work; fails if the connection is closed."""
        while True:
            line = self._file.readline()
            assert line, "the connection was closed"
            message = json.loads(line)
            if message.get("method") == "mining.notify" and message["params"][8]:
                return


def wait_progress(system: System, tokens: int) -> int:
    """Wait until the wallet holds more than before and return what it holds."""
    for _ in system.polls("a growing balance"):
        now = system.balance()
        if now > tokens:
            return now
    raise AssertionError("unreachable")


def test_each_daemon_is_killed_once_while_mining_and_nothing_is_lost(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with System(state, "--json") as system:
        system.wait_ready()
        balance = wait_progress(system, 0)
        for role in ORDER:
            before = system.children()
            with QuietMiner(34255 + system.offset) as miner:
                seen = len(system.lines)
                os.kill(before[role], signal.SIGKILL)
                system.wait_line(f"{role}", after=seen)
                for _ in system.polls(f"{role} to come back"):
                    if before[role] != system.children().get(role, before[role]):
                        break
                if role in KEEPS_MINERS:
                    balance = wait_progress(system, balance)
                    miner.wait_clean_work()
            balance = wait_progress(system, balance)
            audited = run_cli("audit", "--json", "--state", str(state))
            assert audited.returncode == 0, f"after {role}: {audited.stdout}"
        system.process.send_signal(signal.SIGTERM)
        result = system.result()
    assert result["audit"]["ok"], result["audit"]["detail"]
    assert result["tokens"]["balance"] >= balance
