"""`hashpool start ROLE`: one daemon of the development system alone, with the settings that `up` gives it."""

import os
from pathlib import Path

from roles.cli.checkout import STATE_HELP, development_state, home
from roles.cli.claim import mark_development
from roles.cli.fleet import PROFILES, SV1, SV2, Fleet
from roles.cli.keys import public_halves
from roles.runtime.arguments import Arguments


def main(argv: list[str]) -> int:
    """Become the daemon; raises OperatorError and ConfigInvalid when that is not possible."""
    parser = Arguments(prog="hashpool start", description=__doc__)
    parser.add_argument("role", choices=tuple(dict.fromkeys((*SV2.needs, *SV1.needs))))
    parser.add_argument(
        "--profile", choices=tuple(PROFILES), help="the system that it is of, where it may be of both"
    )
    parser.add_argument("--port-offset", type=int, default=0, metavar="N", help="move every port by N")
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    parser.add_argument(
        "--config", type=Path, default=home() / "config", metavar="DIR", help="by default config"
    )
    given = parser.parse_args(argv)
    profile = PROFILES[given.profile or (SV2 if given.role in SV2.needs else SV1).name]
    if given.role not in profile.needs:
        parser.error(f"{given.role} is no daemon of {profile.name}")
    state = development_state(given.state, given.port_offset, profile.name)
    mark_development(state)
    keys = public_halves(state, profile)
    fleet = Fleet(given.config.absolute(), state, given.port_offset, keys, profile)
    (member,) = (member for member in fleet.members() if member.role == given.role)
    os.chdir(home())
    os.execv(member.command[0], member.command)  # noqa: S606
    raise AssertionError("execv does not return")
