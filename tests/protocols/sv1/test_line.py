import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv1.errors import Sv1Error, WrongProtocolError
from protocols.sv1.line import DOWNSTREAM_LIMIT, UPSTREAM_LIMIT, LineSplitter, Overlong


def split(*pieces: bytes, limit: int = DOWNSTREAM_LIMIT) -> list[bytes | Overlong]:
    splitter = LineSplitter(limit)
    return [event for piece in pieces for event in splitter.receive(piece)]


def test_a_line_may_arrive_in_any_number_of_pieces() -> None:
    assert split(b'{"id"', b":", b"1}", b"\n") == [b'{"id":1}']


def test_several_lines_in_one_segment_come_in_order() -> None:
    assert split(b'{"id":1}\n{"id":2}\r\n{"id":3}\n{"id"') == [b'{"id":1}', b'{"id":2}', b'{"id":3}']


def test_line_ends_and_blanks_around_are_dropped_and_empty_lines_skipped() -> None:
    assert split(b"\r\n\n  \n  {}  \r\n\t\n") == [b"{}"]


def test_an_overlong_line_is_one_event_and_the_next_line_is_read() -> None:
    assert split(b"{" + b"x" * DOWNSTREAM_LIMIT, b"y" * 100_000, b"z\n{}\n") == [Overlong(), b"{}"]
    assert split(b"{" + b"x" * DOWNSTREAM_LIMIT + b"\n{}\n") == [Overlong(), b"{}"]
    assert split(b"{" * 6, b"}" * 6 + b"\n{}\n", limit=10) == [Overlong(), b"{}"]


def test_a_line_of_exactly_the_limit_is_read() -> None:
    line = b"{" + b"x" * (UPSTREAM_LIMIT - 2) + b"}"
    assert split(line + b"\n", limit=UPSTREAM_LIMIT) == [line]
    assert split(line, b"\n", limit=UPSTREAM_LIMIT) == [line]


@pytest.mark.parametrize(
    ("head", "protocol"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
        (b"POST /api HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "TLS"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY"),
        (bytes(range(200, 232)) + bytes(range(32)), "SV2 or another binary protocol"),
    ],
)
def test_another_protocol_is_told_by_its_first_bytes(head: bytes, protocol: str) -> None:
    with pytest.raises(WrongProtocolError, match=protocol) as caught:
        split(head)
    assert caught.value.protocol == protocol


def test_another_protocol_is_told_when_its_first_bytes_arrive_one_by_one() -> None:
    with pytest.raises(WrongProtocolError, match="HTTP"):
        split(b"G", b"E", b"T", b" ", b"/")


def test_only_the_first_bytes_are_looked_at() -> None:
    assert split(b"{}\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\n") == [b"{}", b"GET / HTTP/1.1", b"\x16\x03"]
    assert split(b"x" * 64, b"\x00\n") == [b"x" * 64 + b"\x00"]


def test_it_is_known_whether_a_line_has_begun_and_not_ended() -> None:
    splitter = LineSplitter(8)
    told = [splitter.is_within_line]
    for data in (b"abc", b"d\n", b"x" * 9, b"x\n"):
        splitter.receive(data)
        told.append(splitter.is_within_line)
    assert told == [False, True, False, True, False]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=12))
def test_no_bytes_raise_anything_else_and_the_pieces_do_not_matter(pieces: list[bytes]) -> None:
    def run(parts: list[bytes]) -> object:
        try:
            return split(*parts, limit=24)
        except Sv1Error as error:
            return type(error)

    assert run(pieces) == run([b"{}\n" + b"".join(pieces)][:0] or pieces)
    whole = run([b"{}\n", b"".join(pieces)])
    parts = run([b"{}\n", *pieces])
    assert isinstance(whole, list)
    assert isinstance(parts, list)
    assert whole == parts
    assert all(isinstance(line, Overlong) or 0 < len(line) <= 24 for line in parts)


def test_a_line_that_comes_alone_is_what_it_would_be_among_others() -> None:
    splitter = LineSplitter(8)
    assert splitter.lone(b"{}\n") is None  # The first bytes are looked at.
    splitter.receive(b"{}\n")
    assert splitter.lone(b" {1}\r\n") == b"{1}"
    assert splitter.receive(b"{1") == []
    assert splitter.lone(b"}\n") is None
    assert splitter.receive(b"}\n") == [b"{1}"]
    for other in (b"", b"\n", b" \r\n", b"{}", b"{}\n{}\n", b"12345678\n"):
        assert splitter.lone(other) is None
    splitter.receive(b"x" * 9)
    assert splitter.lone(b"{}\n") is None


def test_a_line_begins_where_all_before_it_has_ended_and_its_protocol_is_known() -> None:
    splitter = LineSplitter(100)
    told = [splitter.is_between_lines]
    for piece in (b"{", b"}\n", b"{}\n{", b"}" * 200, b"\n"):
        splitter.receive(piece)
        told.append(splitter.is_between_lines)
    assert told == [False, False, True, False, False, True]
    assert splitter.limit == 100
