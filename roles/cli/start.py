"""`hashpool start ROLE`: one daemon of the development system alone, with the settings that `up` gives it."""

import argparse
import os
import sys
from pathlib import Path

from roles.cli.checkout import STATE_HELP, development_state, home
from roles.cli.fleet import NEEDS, Fleet
from roles.cli.keys import public_halves
from roles.runtime.errors import OperatorError


def main(argv: list[str]) -> int:
    """Become the daemon; returns an exit code only when that is not possible."""
    parser = argparse.ArgumentParser(prog="hashpool start", description=__doc__)
    parser.add_argument("role", choices=tuple(NEEDS))
    parser.add_argument("--port-offset", type=int, default=0, metavar="N", help="move every port by N")
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    parser.add_argument(
        "--config", type=Path, default=home() / "config", metavar="DIR", help="by default config"
    )
    given = parser.parse_args(argv)
    state = development_state(given.state, given.port_offset)
    try:
        fleet = Fleet(given.config.absolute(), state, given.port_offset, public_halves(state))
    except OperatorError as error:
        print(f"hashpool start: {error}", file=sys.stderr)
        return error.exit_code
    (member,) = (member for member in fleet.members() if member.role == given.role)
    os.chdir(home())
    os.execv(member.command[0], member.command)  # noqa: S606
    raise AssertionError("execv does not return")
