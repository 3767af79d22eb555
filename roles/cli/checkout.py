"""Where the checkout is that the command line works on."""

import os
from pathlib import Path


def home() -> Path:
    """Return the root of the checkout: what the launcher says, else where this package lies."""
    named = os.environ.get("HASHPOOL_HOME")
    return Path(named) if named else Path(__file__).resolve().parents[2]
