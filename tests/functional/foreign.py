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

from roles.cli.foreign import LOCKS, ForeignMissing, cashu_ts, node
from tests.functional.processes import ROOT

SCRIPTS: Final = ROOT / LOCKS
_BOUND_S: Final = 150
_SCENE: Final = re.compile(r"^export async function (\w+)\(", re.MULTILINE)


def installed(client: Callable[[], Path]) -> Path:
    """Where a client of others is; skips the test where it cannot be had, and fails it in CI."""
    try:
        return client()
    except ForeignMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def scenes(script: str) -> list[str]:
    """The names of a script's scenes, which are its exported functions."""
    return _SCENE.findall((SCRIPTS / f"{script}.mjs").read_text())


@dataclass(frozen=True)
class Played:
    """What became of every scene of a script: nothing, or the error that ended it."""

    outcomes: dict[str, dict[str, Any]]

    def check(self, scene: str) -> None:
        """Fail with what ended a scene, if anything did."""
        outcome = self.outcomes.get(scene)
        assert outcome is not None, f"{scene} was not played"
        assert outcome["ok"], f"code {outcome.get('code')}: {outcome['error']}"


async def play(place: Path, script: str, told: dict[str, Any], only: Sequence[str] | None = None) -> Played:
    """Play a script's scenes with cashu-ts; `place` is an empty directory."""
    library, runtime = installed(cashu_ts), installed(node)
    # Node looks for packages beside the script.
    for source in SCRIPTS.glob("*.mjs"):
        (place / source.name).write_text(source.read_text())
    (place / "node_modules").symlink_to(library / "node_modules")
    process = await asyncio.create_subprocess_exec(
        str(runtime), f"play_{script}.mjs", json.dumps(told | ({"scenes": only} if only else {})),
        cwd=place, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_BOUND_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, f"{out.decode()}\n{err.decode()}"
    return Played({outcome["name"]: outcome for outcome in map(json.loads, out.decode().splitlines())})
