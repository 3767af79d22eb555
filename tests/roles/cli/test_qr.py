import io

import pytest
import segno

from roles.cli import qr

LONG = "cashuB" + "abcDEF0123-_" * 90


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def modules(lines: list[str]) -> list[list[bool]]:
    rows: list[list[bool]] = []
    for line in lines:
        rows.append([letter in "█▀" for letter in line])
        rows.append([letter in "█▄" for letter in line])
    return rows


def test_a_code_is_drawn_module_by_module_with_light_around_it() -> None:
    lines = qr.draw("cashuBabc", in_colour=False)
    wanted = [[bool(module) for module in row] for row in segno.make_qr("cashuBabc", error="L").matrix]
    rows = modules(lines)
    side = len(wanted)
    inner = [row[qr.QUIET : qr.QUIET + side] for row in rows[qr.QUIET : qr.QUIET + side]]
    assert inner == wanted
    assert not any(any(row) for row in rows[: qr.QUIET])
    assert not any(row[-1] or row[0] for row in rows)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (80, 60), (200, 100), (40, 20)])
def test_every_frame_fits_the_terminal(columns: int, rows: int) -> None:
    frames = [qr.draw(text, in_colour=False) for text in qr.pieces(LONG, columns, rows)]
    assert all(len(frame) < rows for frame in frames)
    assert all(len(line) <= columns for frame in frames for line in frame)
    assert len({len(frame) for frame in frames}) == 1


def test_a_short_text_is_one_code() -> None:
    assert qr.pieces("cashuBabc", 80, 24) == ["cashuBabc"]


def test_an_animation_ends_with_ctrl_c() -> None:
    screen, shown = Screen(), 0

    def sleep(_: float) -> None:
        nonlocal shown
        shown += 1
        if shown == 7:
            raise KeyboardInterrupt

    qr.show(LONG, screen, sleep)
    assert "round and round" in screen.getvalue()
    assert screen.getvalue().endswith("B\n")


def test_where_it_is_no_terminal_each_frame_is_written_once() -> None:
    out = io.StringIO()
    qr.show(LONG, out)
    assert "\x1b" not in out.getvalue()
