"""HTTP requests out of bytes, however they are cut."""

from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.regtest_node.http_request import HEAD_LIMIT, Head, HttpFault, RequestReader

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic abc=\r\nContent-Length: 4\r\n\r\nbody"


def head_of(data: bytes) -> Head | None:
    reader = RequestReader()
    reader.receive(data)
    return reader.head()


def test_a_request_is_read_with_its_body() -> None:
    reader = RequestReader()
    reader.receive(REQUEST)
    head = reader.head()
    assert head is not None
    assert (head.method, head.path, head.length, head.keep_alive) == ("POST", "/", 4, True)
    assert head.headers["authorization"] == "Basic abc="
    assert reader.body(head.length) == b"body"
    assert reader.buffered == 0


@given(st.lists(st.integers(1, 30), max_size=12))
@settings(max_examples=100, deadline=None)
def test_it_does_not_matter_how_bytes_arrive(cuts: list[int]) -> None:
    reader, rest, bodies = RequestReader(), REQUEST * 2, []
    head: Head | None = None
    for size in [*cuts, len(rest)]:
        reader.receive(rest[:size])
        rest = rest[size:]
        while (head := head or reader.head()) is not None and (body := reader.body(head.length)) is not None:
            bodies.append(body)
            head = None
    assert bodies == [b"body", b"body"]


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (b"POST / HTTP/1.1", True),
        (b"POST / HTTP/1.1\r\nConnection: close", False),
        (b"POST / HTTP/1.0", False),
        (b"POST / HTTP/1.0\r\nconnection: Keep-Alive", True),
    ],
)
def test_a_connection_is_kept_as_the_version_says(lines: bytes, kept: bool) -> None:
    head = head_of(lines + b"\r\n\r\n")
    assert head is not None
    assert head.keep_alive is kept


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"POST", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/2.0", HTTPStatus.BAD_REQUEST),
        (b"POST x HTTP/1.1", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nno colon", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nname : x", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nContent-Length: x", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nContent-Length: -1", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2", HTTPStatus.BAD_REQUEST),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked", HTTPStatus.LENGTH_REQUIRED),
        (b"POST / HTTP/1.1\r\nx: " + b"y" * HEAD_LIMIT, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
)
def test_what_is_no_request_is_refused_with_its_status(lines: bytes, status: HTTPStatus) -> None:
    with pytest.raises(HttpFault) as caught:
        head_of(lines + b"\r\n\r\n")
    assert caught.value.status is status


def test_a_head_without_end_is_refused_before_it_fills_memory() -> None:
    with pytest.raises(HttpFault):
        head_of(b"x" * (HEAD_LIMIT + 1))


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for end in (b"", b"\r\n\r\n"):
        try:
            head_of(data + end)
        except HttpFault:
            pass
