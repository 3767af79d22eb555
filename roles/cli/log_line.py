"""A daemon's log line taken apart, logfmt or JSON, so that a terminal can show it to a person."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from rich.text import Text

_PAIR: Final = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)')
_LONG_HEX: Final = re.compile(r"[0-9a-f]{40,}")
_LEVEL_STYLES: Final = {"warning": "yellow", "error": "bold red", "critical": "bold red"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a daemon said: `time` on this machine's clock as hh:mm:ss, and the message with its fields."""

    time: str
    level: str
    message: str
    fields: Mapping[str, str]

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """Take a line apart; None if it is no log line, such as one of a traceback."""
        pairs = _pairs_of_json(line) if line.startswith("{") else _pairs_of_logfmt(line)
        if pairs is None or not {"ts", "level", "msg"} <= pairs.keys():
            return None
        try:
            moment = datetime.fromisoformat(pairs.pop("ts")).astimezone()
        except ValueError:
            return None
        pairs.pop("daemon", None)
        return cls(moment.strftime("%H:%M:%S"), pairs.pop("level"), pairs.pop("msg"), pairs)

    def text(self) -> Text:
        """Return the message and its fields; hashes are cut where the level says that nobody must act."""
        style = _LEVEL_STYLES.get(self.level, "")
        parts: list[tuple[str, str]] = [(self.message, style)]
        for name, value in self.fields.items():
            shown = value if style else _LONG_HEX.sub(cut, value)
            parts.append((f"  {name}={shown}", style or "dim"))
        return Text.assemble(*parts)


def cut(digits: re.Match[str]) -> str:
    """Return the ends of a long hexadecimal number."""
    return f"{digits[0][:8]}…{digits[0][-6:]}"


def _pairs_of_logfmt(line: str) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    end = 0
    while end < len(line):
        found = _PAIR.match(line, end)
        if found is None:
            return None
        name, value = found.groups()
        try:
            pairs[name] = json.loads(value) if value.startswith('"') else value
        except json.JSONDecodeError:
            return None
        end = found.end()
    return pairs


def _pairs_of_json(line: str) -> dict[str, str] | None:
    try:
        told = json.loads(line)
    except json.JSONDecodeError:
        return None
    return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else None
