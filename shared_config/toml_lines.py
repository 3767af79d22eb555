"""On which line of a TOML text each key stands, which no TOML parser tells."""

import re
from collections.abc import Iterator

KeyPath = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
    | (?P<text>\"\"\"(?:\\.|[^\\])*?\"\"\"\"{0,2} | '''.*?''''{0,2} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
    | (?P<open>[\[{]) | (?P<close>[\]}]) | (?P<equals>=) | (?P<newline>\n) | (?P<word>[^\s"'\[\]{}=\#]+) | .
    """,
    re.VERBOSE | re.DOTALL,
)
_KEY_PART = re.compile(r"""\s*(?:"((?:\\.|[^"\\])*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(?:\.|\Z)""")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every key and table header of a valid TOML text; keys inside values are left out.

    An element of an array of tables has its index in the path.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    for line, statement in _statements(text):
        header = re.fullmatch(r"(\[\[?)(.*?)\]\]?", statement, re.DOTALL)
        if header is None:
            lines.setdefault(table + split_key(statement), line)
            continue
        table = _resolve(split_key(header[2]), counts)
        if header[1] == "[[":
            index = counts.get(table, 0)
            counts[table] = index + 1
            lines.setdefault(table, line)
            table = (*table, index)
        lines.setdefault(table, line)
    return lines


def split_key(text: str) -> tuple[str, ...]:
    """The parts of a dotted key; raises ValueError when it is not one."""
    parts: list[str] = []
    position = 0
    while position < len(text) or not parts or text.endswith("."):
        found = _KEY_PART.match(text, position)
        if found is None or found.end() == position:
            raise ValueError(f"{text!r} is not a key")
        parts.append(next(part for part in found.groups() if part is not None))
        if found.end() == len(text) and not found[0].endswith("."):
            break
        position = found.end()
    return tuple(parts)


def key_path(text: str) -> KeyPath:
    """The path of a dotted key in which a number means an element of an array; raises ValueError."""
    return tuple(int(part) if part.isdecimal() else part for part in split_key(text))


def _resolve(parts: tuple[str, ...], counts: dict[KeyPath, int]) -> KeyPath:
    """The path of a header: below an array of tables it means the last element."""
    path: KeyPath = ()
    for index, part in enumerate(parts):
        path = (*path, part)
        if path in counts and index < len(parts) - 1:
            path = (*path, counts[path] - 1)
    return path


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of every table header and of the left side of every assignment."""
    line, start, depth, seen = 1, 0, 0, ""
    assigned = False
    for token in _TOKEN.finditer(text):
        kind, piece = token.lastgroup, token[0]
        if kind == "newline" and depth == 0:
            if seen.strip() and not assigned:
                yield start, seen.strip()
            seen, assigned = "", False
        elif kind == "equals" and not assigned and depth == 0:
            yield start, seen.strip()
            assigned = True
        elif kind != "comment":
            depth += (kind == "open") - (kind == "close")
            if not seen.strip():
                start = line
            seen += piece
        line += piece.count("\n")
    if seen.strip() and not assigned:
        yield start, seen.strip()
