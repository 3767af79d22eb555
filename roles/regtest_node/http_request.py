"""HTTP/1.1 requests from a stream of bytes: as much of it as a JSON-RPC server needs.

Own, because a daemon on the way of every start should not spend half of it on importing a framework. Bodies
come with a length; chunked ones are refused. No input makes it raise anything but HttpFault.
"""

from dataclasses import dataclass
from http import HTTPStatus

HEAD_LIMIT = 16 * 1024
_END = b"\r\n\r\n"


class HttpFault(Exception):
    """Bytes that are no request that can be served; ``status`` says why. Nothing after them can be read."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the headers of a request; names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    length: int
    keep_alive: bool

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a word before it sends the body."""
        return self.headers.get("expect", "").lower() == "100-continue"


class RequestReader:
    """Takes bytes as they arrive; gives heads and bodies in turn."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes that have arrived and were not asked for yet."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Takes what has arrived."""
        self._buffer += data

    def head(self) -> Head | None:
        """The next head once it is complete; raises HttpFault."""
        end = self._buffer.find(_END)
        if end > HEAD_LIMIT or (end < 0 and len(self._buffer) > HEAD_LIMIT):
            raise HttpFault(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if end < 0:
            return None
        text = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + len(_END)]
        return _parse(text)

    def body(self, length: int) -> bytes | None:
        """The next ``length`` bytes once they are there."""
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body


def _parse(text: str) -> Head:
    # A line end before the first line is left over from the body before, says RFC 9112.
    first, *lines = text.lstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise HttpFault(HTTPStatus.BAD_REQUEST)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip() or name in headers:
            raise HttpFault(HTTPStatus.BAD_REQUEST)
        headers[name] = value.strip()
    if "transfer-encoding" in headers:
        raise HttpFault(HTTPStatus.LENGTH_REQUIRED)
    connection = headers.get("connection", "").lower()
    keep_alive = connection == "keep-alive" if words[2] == "HTTP/1.0" else connection != "close"
    return Head(words[0], words[1], headers, _length(headers.get("content-length", "0")), keep_alive)


def _length(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise HttpFault(HTTPStatus.BAD_REQUEST)
    return int(text)
