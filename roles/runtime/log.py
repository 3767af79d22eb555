"""Logs to stderr as logfmt or JSON, one line a record, whatever a peer puts into it.

Fields are given as ``extra``: ``log.info("block found", extra={"height": 7})``. Full tracebacks only when
``$HASHPOOL_BACKTRACE`` is set; otherwise an exception is its chain of texts and the line that raised it.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from roles.runtime.redaction import PEER_FIELDS, Shown, shown

Format = Literal["logfmt", "json"]
Level = Literal["debug", "info", "warning", "error"]

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "exc_text"}


def configure(name: str, form: Format, level: Level, addresses: Shown = "full") -> None:
    """Send all logs of this process to stderr under the daemon's name, with so much of peers' addresses."""
    handler = logging.StreamHandler(sys.stderr)
    backtrace = bool(os.environ.get("HASHPOOL_BACKTRACE"))
    handler.setFormatter(LineFormatter(name, form, full_traceback=backtrace, addresses=addresses))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries tell more than an operator needs; their warnings stay.
    for chatty in ("asyncio", "aiohttp"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)


class LineFormatter(logging.Formatter):
    """One record as one line: time (UTC), level, daemon, message, the record's own fields, error."""

    def __init__(
        self, name: str, form: Format, *, full_traceback: bool = False, addresses: Shown = "full"
    ) -> None:
        super().__init__()
        self._name = name
        self._form = form
        self._full = full_traceback
        self._addresses = addresses

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        fields: dict[str, object] = dict(self._fields(record))
        if self._form == "json":
            return json.dumps(fields, default=str)
        return " ".join(f"{key}={_value(value)}" for key, value in fields.items())

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, object]]:
        moment = datetime.fromtimestamp(record.created, UTC)
        yield "ts", moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(record.msecs):03d}Z"
        yield "level", record.levelname.lower()
        yield "daemon", self._name
        yield "msg", record.getMessage()
        for key, value in record.__dict__.items():
            if key in PEER_FIELDS:
                yield key, shown(str(value), self._addresses) or "hidden"
            elif key not in _STANDARD:
                yield key, value
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            yield "error", summary(error)
            if self._full:
                yield "traceback", "".join(traceback.format_exception(error))


def summary(error: BaseException) -> str:
    """An exception in one line: its chain of causes, the members of a group, and where it was raised."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < 5:
        text = f"{type(current).__name__}: {current}".removesuffix(": ")
        if isinstance(current, BaseExceptionGroup):
            text = "; ".join(summary(member) for member in current.exceptions[:5])
        elif current.__traceback__ is not None:
            frame = traceback.extract_tb(current.__traceback__)[-1]
            text += f" [{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}]"
        parts.append(text)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return " <- ".join(parts)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not text.isprintable():
        return json.dumps(text)
    if not text or any(character in text for character in ' "='):
        return json.dumps(text, ensure_ascii=False)
    return text
