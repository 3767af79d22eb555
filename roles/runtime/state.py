"""Where daemons keep what they must not lose."""

import os
from pathlib import Path

from roles.runtime.errors import StateUnusable


def checkout() -> Path | None:
    """The root of the checkout that this program runs from, None for an installed one."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def state_root(chosen: str | None) -> Path:
    """The state directory: ``--state``, ``$HASHPOOL_STATE``, systemd's, else ``.state`` of the checkout."""
    named = chosen or os.environ.get("HASHPOOL_STATE") or os.environ.get("STATE_DIRECTORY")
    if named:
        return Path(named).absolute()
    return (checkout() or Path.cwd()) / ".state"


def role_state(root: Path, role: str) -> Path:
    """The sub-directory of one daemon, made with mode 0700 when it is not there; raises StateUnusable."""
    directory = root / role
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateUnusable(
            f"the state directory {directory} cannot be made: {error.strerror}",
            hint="name another one with --state",
        ) from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise StateUnusable(
            f"the state directory {directory} cannot be written", hint="name another one with --state"
        )
    return directory
