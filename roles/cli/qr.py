"""QR codes on a terminal: one where the text fits, else a row of them that is shown round and round (UR)."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, TextIO

import segno

from protocols.cashu.animation import parts

QUIET: Final = 2
"""Light modules around the code; what is drawn is light beyond them on most screens, too."""
_FRAME_S: Final = 0.25
_LARGEST: Final = 40
_SMALLEST_PART: Final = 30
_LIT, _PLAIN = "\x1b[38;5;16;48;5;231m", "\x1b[0m"
_HALVES: Final = {(1, 1): "█", (1, 0): "▀", (0, 1): "▄", (0, 0): " "}


def show(text: str, out: TextIO | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
    """Draw a text, on stderr by default; an animation goes on until Ctrl-C."""
    out = out or sys.stderr
    is_screen = out.isatty()
    columns, rows = _size(out) if is_screen else (100, 100)
    frames = [draw(each, in_colour=is_screen) for each in pieces(text, columns, rows)]
    if len(frames) == 1 or not is_screen:
        for number, frame in enumerate(frames):
            out.write("\n" * bool(number) + "\n".join(frame) + "\n")
        return
    out.write(f"{len(frames)} frames, round and round; Ctrl-C when they are read\n")
    try:
        while True:
            for frame in frames:
                out.write("\n".join(frame) + "\n")
                out.flush()
                sleep(_FRAME_S)
                out.write(f"\x1b[{len(frame)}A")
    except KeyboardInterrupt:
        out.write(f"\x1b[{len(frames[0])}B\n")


def pieces(text: str, columns: int, rows: int) -> list[str]:
    """The text itself if its code fits so many characters, else the texts of codes that do."""
    room = min(columns, 2 * (rows - 2)) - 2 * QUIET
    modules = max(21, min(17 + 4 * _LARGEST, room))
    if _modules(text) <= modules:
        return [text]
    size = 1_000
    while size > _SMALLEST_PART:
        found = parts(text.encode(), size)
        if max(_modules(each) for each in found[:2]) <= modules:
            return found
        size = size * 4 // 5
    return parts(text.encode(), _SMALLEST_PART)


def draw(text: str, *, in_colour: bool) -> list[str]:
    """The lines of a code, two modules a character from top to bottom."""
    matrix: list[Sequence[int]] = [list(row) for row in segno.make_qr(text, error="L").matrix]
    width = len(matrix) + 2 * QUIET
    empty = [0] * width
    padded = [[0] * QUIET + list(row) + [0] * QUIET for row in matrix]
    padded = [empty] * QUIET + padded + [empty] * (QUIET + len(matrix) % 2)
    lines = []
    for top, bottom in zip(padded[::2], padded[1::2], strict=True):
        line = "".join(_HALVES[bool(a), bool(b)] for a, b in zip(top, bottom, strict=True))
        lines.append(f"{_LIT}{line}{_PLAIN}" if in_colour else line)
    return lines


def _modules(text: str) -> int:
    try:
        return len(segno.make_qr(text, error="L").matrix)
    except segno.DataOverflowError:
        return 1 << 16


def _size(out: TextIO) -> os.terminal_size:
    try:
        return os.get_terminal_size(out.fileno())
    except OSError:
        return os.terminal_size((80, 24))
