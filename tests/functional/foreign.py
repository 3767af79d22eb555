"""Wallets of others against a real mint: where they are had, and scripts that they play."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from roles.cli.foreign import LOCKS, ForeignMissing, cashu_ts, node, nutshell
from tests.functional.processes import ROOT

SCRIPTS: Final = ROOT / LOCKS
_BOUND_S: Final = 280
_SCENES: Final = {
    ".mjs": re.compile(r"^export async function (\w+)\(", re.MULTILINE),
    ".py": re.compile(r"^async def (\w+)\(stage: Stage\)", re.MULTILINE),
}
"""How a script writes a scene; a name that begins with _ is none."""


def installed(client: Callable[[], Path]) -> Path:
    """Where a client of others is; skips the test where it cannot be had, and fails it in CI."""
    try:
        return client()
    except ForeignMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def scenes(script: str) -> list[str]:
    """The names of a script's scenes."""
    path = SCRIPTS / script
    return _SCENES[path.suffix].findall(path.read_text())


@dataclass(frozen=True)
class Played:
    """What became of every scene of a script: nothing, or the error that ended it."""

    outcomes: dict[str, dict[str, Any]]

    def check(self, scene: str) -> None:
        """Fail with what ended a scene, if anything did."""
        outcome = self.outcomes.get(scene)
        assert outcome is not None, f"{scene} was not played"
        assert outcome["ok"], f"code {outcome.get('code')}: {outcome['error']}"


async def play(place: Path, script: str, told: dict[str, Any]) -> Played:
    """Play all scenes of a script; `place` is an empty directory."""
    told = told | {"scenes": scenes(script)}
    if script.endswith(".py"):
        environment = {"HOME": str(place), "CASHU_DIR": str(place), "TOR": "FALSE"}
        return await _run(place, [str(installed(nutshell)), str(SCRIPTS / script)], told, environment)
    library, runtime = installed(cashu_ts), installed(node)
    # Node looks for packages beside the script.
    for source in SCRIPTS.glob("*.mjs"):
        (place / source.name).write_text(source.read_text())
    (place / "node_modules").symlink_to(library / "node_modules")
    return await _run(place, [str(runtime), f"play_{script}"], told, {})


async def _run(
    place: Path, command: Sequence[str], told: dict[str, Any], environment: dict[str, str]
) -> Played:
    process = await asyncio.create_subprocess_exec(
        *command, json.dumps(told), cwd=place, env=os.environ | environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_BOUND_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, f"{out.decode()}\n{err.decode()}"
    told_of = [json.loads(line) for line in out.decode().splitlines() if line.startswith('{"name"')]
    return Played({outcome["name"]: outcome for outcome in told_of})
