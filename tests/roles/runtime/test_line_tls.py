"""Lines within TLS, by a real client, on a port that takes both, one that takes TLS only, and one without."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.sv1.line import Overlong
from roles.runtime.errors import ConnectionLost
from roles.runtime.line_connection import Door, LineConnection, ServedLines, serve
from roles.runtime.peer_server import PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.tls_identity import TlsIdentity, TlsMetrics
from shared_config.address import Address
from tests.roles.runtime.certificates import Pair, make_pair

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(connection: LineConnection) -> None:
    while True:
        for line in await connection.receive_batch():
            connection.send(b"overlong\n" if isinstance(line, Overlong) else line + b"\n")


class Port:
    """A server with a certificate, and those who come to it."""

    def __init__(self, pair: Pair, *, must_encrypt: bool = False, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.pair = pair
        self.identity = TlsIdentity(pair.certificate, pair.key, metrics=TlsMetrics(self.registry, "t"))
        self.server: PeerServer[ServedLines] = serve(
            Address("127.0.0.1", 0),
            options.pop("handler", echo),
            setting="listen",
            metrics=ServerMetrics(self.registry, "t"),
            door=Door(self.identity, must_encrypt),
            **options,
        )
        self._writers: list[asyncio.StreamWriter] = []

    async def plain(self) -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", self.server.address.port)
        self._writers.append(streams[1])
        return streams

    async def secure(self, pair: Pair | None = None, **options: Any) -> Streams:
        context = ssl.create_default_context(cafile=str((pair or self.pair).certificate))
        for name, value in options.items():
            setattr(context, name, value)
        streams = await asyncio.open_connection(
            "127.0.0.1", self.server.address.port, ssl=context, server_hostname="localhost"
        )
        self._writers.append(streams[1])
        return streams

    async def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_t_{name}", labels) or 0.0

    async def ended(self, reason: str) -> None:
        while not self.count("connections_ended_total", reason=reason):
            await asyncio.sleep(0.002)


@asynccontextmanager
async def open_port(pair: Pair, **options: Any) -> AsyncIterator[Port]:
    port = Port(pair, **options)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(port.server.run())
        try:
            yield port
        finally:
            await port.hang_up()
            task.cancel()
            await asyncio.wait([task])
            port.server.close()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path)


async def asks(streams: Streams, line: bytes = b"hello") -> bytes:
    reader, writer = streams
    writer.write(line + b"\n")
    return (await reader.readline()).rstrip(b"\n")


async def test_one_port_serves_plain_and_encrypted_lines(pair: Pair) -> None:
    async with open_port(pair) as port:
        plain, secure = await port.plain(), await port.secure()
        for number in range(3):
            line = b"line %d" % number
            assert await asks(plain, line) == await asks(secure, line) == line
        assert port.count("tls_handshakes_total", result="made") == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_in_use_are_spoken(pair: Pair, version: ssl.TLSVersion) -> None:
    async with open_port(pair) as port:
        secure = await port.secure(maximum_version=version, minimum_version=version)
        big = b"x" * 8_000
        assert await asks(secure, big) == big
        tls: ssl.SSLObject = secure[1].get_extra_info("ssl_object")
        assert tls.version() == version.name.replace("TLSv1_", "TLSv1.")


async def test_a_port_for_tls_only_cuts_who_speaks_plain(pair: Pair) -> None:
    async with open_port(pair, must_encrypt=True) as port:
        reader, writer = await port.plain()
        writer.write(b'{"id":1}\n')
        with suppress(ConnectionError):
            assert await reader.read() == b""
        await port.ended("tls-required")
        assert await asks(await port.secure()) == b"hello"


async def test_a_port_without_a_certificate_cuts_who_speaks_tls(pair: Pair) -> None:
    async with open_port(pair) as port:
        port.server._make = lambda owner: ServedLines(owner, StreamLimits(), 100, Door())
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await port.secure()
        await port.ended("wrong-protocol")


async def test_a_hello_that_comes_byte_by_byte_is_understood(pair: Pair) -> None:
    """The client is a TLS layer over a socket that sends single bytes."""
    async with open_port(pair) as port:
        reader, writer = await port.plain()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(pair.certificate))
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")

        async def until_done(act: Callable[[], Any]) -> Any:
            while True:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    await drip()
                    incoming.write(await reader.read(1 << 16))

        async def drip() -> None:
            for byte in outgoing.read():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

        await until_done(tls.do_handshake)
        tls.write(b"dripping\nlines\n")
        await drip()
        heard = b""
        while heard.count(b"\n") < 2:
            heard += await until_done(lambda: tls.read(100))
        assert heard == b"dripping\nlines\n"


@pytest.mark.parametrize(
    "garbage", [b"\x16", b"\x16\x03\x01\x02\x00" + bytes(512), b"\x16" + b"\xff" * 40_000, b"\x16GET / HTTP"]
)
async def test_who_only_begins_like_tls_is_cut(pair: Pair, garbage: bytes) -> None:
    async with open_port(pair, server_limits=ServerLimits(begin_s=0.2)) as port:
        reader, writer = await port.plain()
        writer.write(garbage)
        with suppress(ConnectionError):
            await reader.read()
        while port.server.connections:
            await asyncio.sleep(0.002)
        assert port.count("connections_opened_total") == 0
        port.server.limits = ServerLimits()
        assert await asks(await port.secure()) == b"hello"


async def test_who_shakes_hands_and_says_nothing_is_cut(pair: Pair, leap: Callable[[float], None]) -> None:
    async with open_port(pair, server_limits=ServerLimits(begin_s=10)) as port:
        reader, _ = await port.secure()
        leap(10)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        await port.ended("begin-timeout")


async def test_a_client_with_which_nothing_can_be_agreed_on_is_told_so_and_counted(pair: Pair) -> None:
    async with open_port(pair) as port:
        context = ssl.create_default_context(cafile=str(pair.certificate))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        # The certificate has a key on a curve.
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        with pytest.raises(ssl.SSLError, match="ALERT_HANDSHAKE_FAILURE"):
            await asyncio.open_connection("127.0.0.1", port.server.address.port, ssl=context)
        await port.ended("tls-failed")
        assert port.count("tls_handshakes_total", result="failed") == 1


async def test_a_client_that_does_not_trust_the_certificate_leaves_and_others_are_served(
    pair: Pair, tmp_path: Path
) -> None:
    async with open_port(pair) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await port.secure(make_pair(tmp_path, "other"))
        while port.server.connections:
            await asyncio.sleep(0.002)
        assert await asks(await port.secure()) == b"hello"


async def test_garbage_within_a_session_ends_it(pair: Pair) -> None:
    async with open_port(pair) as port:
        reader, writer = await port.secure()
        assert await asks((reader, writer)) == b"hello"
        raw: Any = writer.transport.get_extra_info("socket")
        raw._sock.send(b"\x17\x03\x03\x00\x20" + bytes(32)) if hasattr(raw, "_sock") else raw.send(b"\0" * 40)
        with suppress(ConnectionError, ssl.SSLError):
            await reader.read()
        await port.ended("tls-failed")


async def test_a_line_and_the_end_in_one_segment_are_both_heard(pair: Pair) -> None:
    heard: list[object] = []

    async def keep(connection: LineConnection) -> None:
        while True:
            heard.extend(await connection.receive_batch())

    async with open_port(pair, handler=keep) as port:
        _, writer = await port.secure()
        writer.write(b"the last words\n")
        writer.close()
        await port.ended("peer-closed")
        assert heard == [b"the last words"]


async def test_the_end_that_we_make_is_told_within_tls(pair: Pair) -> None:
    async def once(connection: LineConnection) -> None:
        await connection.receive()
        connection.send(b"bye\n")
        connection.close("enough", code="closed")
        with pytest.raises(ConnectionLost):
            connection.send(b"more\n")

    async with open_port(pair, handler=once) as port:
        reader, writer = await port.secure()
        writer.write(b"hello\n")
        # An end without TLS's own would be an error here.
        assert await reader.read() == b"bye\n"


async def test_who_does_not_read_what_is_encrypted_for_it_is_cut(pair: Pair) -> None:
    limits = StreamLimits(unsent=1 << 16, stall_s=0.3)
    async with open_port(pair, stream_limits=limits) as port:
        _, writer = await port.secure()
        transport: Any = writer.transport
        transport.pause_reading()
        with suppress(ConnectionError, ssl.SSLError, RuntimeError):
            async with asyncio.timeout(30):
                while not port.count("connections_ended_total", reason="not-reading"):
                    writer.write((b"y" * 4_000 + b"\n") * 50)
                    await asyncio.wait({asyncio.ensure_future(writer.drain())}, timeout=0.05)
        await port.ended("not-reading")


async def test_new_peers_are_shown_the_certificate_that_was_read_anew(pair: Pair, tmp_path: Path) -> None:
    async with open_port(pair) as port:
        before = await port.secure()
        other = make_pair(tmp_path, "renewed")
        port.identity.prepare(other.certificate, other.key)()
        with pytest.raises(ssl.SSLCertVerificationError):
            await port.secure()
        after = await port.secure(other)
        assert await asks(before) == await asks(after) == b"hello"


async def test_a_hundred_at_once_are_served(pair: Pair) -> None:
    async with open_port(pair, server_limits=ServerLimits(beginners=200)) as port:

        async def one(number: int) -> bytes:
            return await asks(await port.secure(), b"%d" % number)

        made: list[Awaitable[bytes]] = [one(number) for number in range(100)]
        assert await asyncio.gather(*made) == [b"%d" % number for number in range(100)]
