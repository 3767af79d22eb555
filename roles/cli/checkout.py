"""Where the checkout is that the command line works on."""

import os
from pathlib import Path
from typing import Final

STATE_HELP: Final = "the state directory: by default $HASHPOOL_STATE, else .state"


def home() -> Path:
    """Return the root of the checkout: what the launcher says, else where this package lies."""
    named = os.environ.get("HASHPOOL_HOME")
    return Path(named) if named else Path(__file__).resolve().parents[2]


def development_state(chosen: str | None, port_offset: int, profile: str = "sv2") -> Path:
    """Return the state directory of a system with this port offset, as `hashpool up` chooses it."""
    named = chosen or os.environ.get("HASHPOOL_STATE")
    if named:
        return Path(named).absolute()
    root = home() / ".state"
    if profile != "sv2":
        root /= profile
    return root / (f"offset-{port_offset}" if port_offset else "")
