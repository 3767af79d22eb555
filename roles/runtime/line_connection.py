"""Stratum V1 over TCP: bounded lines both ways, as a client or as a server.

    connection = await connect(Address("127.0.0.1", 34255))
    connection.send(request(1, "mining.subscribe", []))
    line = await connection.receive()

    server = serve(address, handler, setting="listen_address")
    task_group.create_task(server.run())

An item is a line without its end, or `Overlong` where one was skipped. A served peer begins with its first
bytes: one that only connects is never handed to the handler.
"""

from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry

from protocols.sv1.errors import WrongProtocolError
from protocols.sv1.line import DOWNSTREAM_LIMIT, UPSTREAM_LIMIT, LineSplitter, Overlong
from roles.runtime.dial import CONNECT_S, dial
from roles.runtime.listen import listen
from roles.runtime.peer_server import PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import PeerStream, StreamLimits, StreamOwner
from shared_config.address import Address

Line = bytes | Overlong


class LineConnection(PeerStream[Line]):
    """Lines of at most `line_limit` bytes; a peer that speaks another protocol is cut."""

    def __init__(self, owner: StreamOwner, limits: StreamLimits, line_limit: int) -> None:
        super().__init__(owner, limits)
        self._lines = LineSplitter(line_limit)

    def send(self, *lines: bytes) -> None:
        """Write lines, each ended by LF, in one piece; raise ConnectionLost, and cut who does not read."""
        self._write(lines[0] if len(lines) == 1 else b"".join(lines))

    def _arrived(self, data: bytes) -> None:
        try:
            for line in self._lines.receive(data):
                self._deliver(line, len(line) if isinstance(line, bytes) else 0)
        except WrongProtocolError as error:
            self.abort(str(error), code="wrong-protocol")
        self._delivered()


class ServedLines(LineConnection):
    """The server's end."""

    def __init__(self, owner: StreamOwner, limits: StreamLimits, line_limit: int) -> None:
        super().__init__(owner, limits, line_limit)
        self._has_spoken = False

    def _begin(self) -> None:
        """The miner speaks first."""

    def _arrived(self, data: bytes) -> None:
        super()._arrived(data)
        if not self._has_spoken and self.is_open:
            self._has_spoken = True
            self._opened()


async def connect(
    address: Address,
    *,
    timeout: float = CONNECT_S,
    line_limit: int = UPSTREAM_LIMIT,
    limits: StreamLimits | None = None,
) -> LineConnection:
    """Connect within `timeout` seconds; raises ConnectFailed with code ``unreachable`` or ``timeout``."""
    bounds = limits or StreamLimits()
    return await dial(address, lambda owner: LineConnection(owner, bounds, line_limit), timeout)


def serve(
    address: Address,
    handler: Callable[[LineConnection], Awaitable[None]],
    *,
    setting: str,
    metrics: ServerMetrics | None = None,
    line_limit: int = DOWNSTREAM_LIMIT,
    server_limits: ServerLimits | None = None,
    stream_limits: StreamLimits | None = None,
) -> PeerServer[ServedLines]:
    """Listen at once, and serve while `run` of the result runs.

    `setting` names the configuration key of the address. Raises PortInUse or ListenFailed.
    """
    streams = stream_limits or StreamLimits()
    return PeerServer(
        listen(address, setting),
        lambda owner: ServedLines(owner, streams, line_limit),
        handler,
        limits=server_limits or ServerLimits(),
        metrics=metrics or ServerMetrics(CollectorRegistry(), "sv1"),
    )
