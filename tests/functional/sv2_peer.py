"""SV2 peers of real daemons: a good miner that must notice nothing, and bad ones that say what they like."""

import asyncio
import contextlib
import secrets
import socket
import time
from dataclasses import dataclass

from protocols.noise.authority import decode_public
from protocols.noise.handshake import ACT2_SIZE, Initiator
from protocols.noise.transport import Transport
from protocols.sv2.codec import encode
from protocols.sv2.connection import SetupConnection
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from roles.runtime.sv2_connection import Sv2Connection, connect
from shared_config.address import Address
from tests.functional.processes import PATIENCE_S, Daemon
from tests.roles.pool.house import Channel, Miner
from tests.roles.pool.neighbours import ON_MINING_LINK


@dataclass(frozen=True)
class Server:
    """A daemon's SV2 listener; ``metric`` is what its listener's metrics begin with."""

    daemon: Daemon
    address: Address
    authority: bytes
    metric: str

    @classmethod
    def of(cls, daemon: Daemon, key: str, authority: str, metric: str) -> "Server":
        """The listener of a daemon whose address stands under ``key``."""
        host, _, port = daemon.settings[key].rpartition(":")
        return cls(daemon, Address(host, int(port)), decode_public(authority), metric)

    async def dial(self) -> Sv2Connection:
        """A connection with the handshake done."""
        return await connect(self.address, self.authority, limit=FrameLimits(ON_MINING_LINK))

    async def miner(self, *, flags: int = 0, extensions: bool = False) -> Miner:
        """A miner that has been set up."""
        miner = Miner(await self.dial())
        await miner.set_up(flags)
        if extensions:
            await miner.extend()
        return miner

    async def stream(self, sock: socket.socket | None = None) -> "Stream":
        """A connection with the handshake done, on which any bytes can be written; ``sock`` is connected."""
        where = {"sock": sock} if sock else {"host": self.address.host, "port": self.address.port}
        reader, writer = await asyncio.open_connection(**where)
        initiator = Initiator(
            ephemeral_secret=secrets.token_bytes(32),
            ephemeral_aux=secrets.token_bytes(32),
            authority=self.authority,
        )
        writer.write(initiator.start())
        session = initiator.receive(await reader.readexactly(ACT2_SIZE), int(time.time()))
        return Stream(reader, writer, Transport(session, lambda _: None))

    async def ended(self, reason: str) -> float:
        """How many connections have ended for a reason."""
        return await self.count(f'hashpool_{self.metric}_connections_ended_total{{reason="{reason}"}}')

    async def count(self, sample: str) -> float:
        """A sample of the daemon's metrics by its whole name, 0 where there is none."""
        status, text = await self.daemon.health("/metrics")
        assert status == 200
        for line in text.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0.0


@dataclass(frozen=True)
class Stream:
    """A connection as bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    noise: Transport

    def seal(self, message: Message) -> bytes:
        """The bytes that carry a message."""
        frame = encode(message)
        return self.noise.send(frame.header(), frame.payload)

    async def closed(self) -> None:
        """Wait until the server has ended the connection."""
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(1 << 16):
                    pass
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def goes_on(channel: Channel) -> None:
    """A good miner's next share is accepted, on the connection that it has had all the time."""
    share = channel.mine()
    channel.submit(share)
    while True:
        answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
        assert isinstance(answer, SubmitSharesSuccess), answer
        if answer.last_sequence_number == share.sequence_number:
            return


def setup(protocol: int, *, versions: tuple[int, int] = (2, 2), flags: int = 0) -> SetupConnection:
    """A SetupConnection as a client sends it."""
    return SetupConnection(protocol, *versions, flags, "", 0, "test", "", "", "")
