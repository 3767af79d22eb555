"""docs/reload.md, as tests compare it with what daemons take over."""

import re
from pathlib import Path
from typing import Any, get_args

from shared_config.roster import models

PAGE = (Path(__file__).parents[1] / "docs/reload.md").read_text()
_KEY = re.compile(r"`([a-z_0-9.]+)`")


def told_of(role: str) -> frozenset[str]:
    """The settings that the page names for a daemon by its name; each is one that the daemon has."""
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    mine = [row[2] for row in rows if role in row[1].replace(",", " ").split()]
    keys = frozenset(key for cell in mine for key in _KEY.findall(cell))
    for key in keys:
        own, shared = models(role)
        model: Any = shared if key.startswith("shared.") else own
        for part in key.removeprefix("shared.").split("."):
            assert part in _fields(model), key
            model = _fields(model)[part].annotation
    return keys


def _fields(model: Any) -> Any:
    """Those of a model, also of one that may be absent."""
    inner = next((each for each in get_args(model) if hasattr(each, "model_fields")), model)
    return inner.model_fields
