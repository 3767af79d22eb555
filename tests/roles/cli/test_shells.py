"""The justfile and devenv.nix call the launcher and no more, and start what `hashpool up` starts."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roles.cli.__main__ import COMMANDS
from roles.cli.fleet import SV2, health_address

ROOT = Path(__file__).parents[3]
JUSTFILE = (ROOT / "justfile").read_text()
DEVENV = (ROOT / "devenv.nix").read_text()
RECIPES = [
    "default",
    "up",
    "test",
    "lint",
    "bench",
    "db",
    "clean",
    "generate-blocks",
    "balance",
    "set-min-diff",
    "check",
]
PROCESS = re.compile(r'^    (\w+) = daemon "(\w+)" (\d+) \[ ([^\]]*)\];$', re.MULTILINE)


def test_the_recipes_are_those_of_the_house() -> None:
    assert re.findall(r"^([a-z-]+)(?: [^:\n]*)?:$", JUSTFILE, re.MULTILINE) == RECIPES


def test_every_recipe_is_one_call_of_the_launcher() -> None:
    bodies = [line.strip() for line in JUSTFILE.splitlines() if line.startswith("    ")]
    assert len(bodies) == len(RECIPES)
    called = [re.match(r"\./hashpool ([a-z-]+)", body) for body in bodies[1:]]
    assert all(call is not None and call[1] in COMMANDS for call in called)


@pytest.mark.parametrize(
    ("recipe", "call"),
    [
        ("up", "up"),
        ("up backtrace", "up --backtrace"),
        ("test", "test"),
        ("test -k shift", "test -k shift"),
        ("lint", "lint"),
        ("bench mint --json", "bench mint --json"),
        ("db pool", "db pool"),
        ("db pool 'select 1'", "db pool 'select 1'"),
        ("clean logs --yes", "clean logs --yes"),
        ("generate-blocks", "generate-blocks 1"),
        ("generate-blocks 5", "generate-blocks 5"),
        ("balance", "wallet balance"),
        ("set-min-diff 10", "set-min-diff 10"),
        ("check", "check config"),
        ("check config/prod", "check config/prod"),
    ],
)
def test_just_understands_the_recipes(recipe: str, call: str) -> None:
    just = Path(sys.executable).with_name("just")
    result = subprocess.run(
        [just, "--dry-run", *shlex.split(recipe)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == f"./hashpool {call}"


def test_the_processes_of_devenv_are_those_of_up_in_the_same_order_of_readiness() -> None:
    found = {name: tuple(re.findall(r'"(\w+)"', needs)) for name, _, _, needs in PROCESS.findall(DEVENV)}
    assert found == SV2.needs
    assert all(name == role for name, role, _, _ in PROCESS.findall(DEVENV))


def test_the_probes_of_devenv_ask_the_configured_health_addresses() -> None:
    for _, role, port, _ in PROCESS.findall(DEVENV):
        assert health_address(ROOT / "config", role, 0) == f"127.0.0.1:{port}"


def test_devenv_nix_is_valid_nix() -> None:
    nix = shutil.which("nix-instantiate")
    if nix is None:
        assert not os.environ.get("CI"), "nix-bin is not installed"
        pytest.skip("nix-bin is not installed")
    result = subprocess.run(
        [nix, "--parse", str(ROOT / "devenv.nix")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
