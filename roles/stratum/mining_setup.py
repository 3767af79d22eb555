"""The first words on an SV2 mining connection, with bounds on how long the upstream may think about them."""

import asyncio
import logging
from dataclasses import dataclass

from protocols.sv2.connection import PROTOCOL_MINING, VERSION, SetupConnection
from protocols.sv2.setup import ClientSetup
from roles.stratum.connection import FrameConnection
from roles.stratum.errors import UpstreamUnusable

__all__ = ["ClientIdentity", "negotiate_extensions", "set_up"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Where we connect to and who we say we are."""

    host: str
    port: int
    device: str
    vendor: str = "hashpool"
    firmware: str = ""

    @property
    def where(self) -> str:
        """The upstream's address, for people."""
        return f"{self.host}:{self.port}"

    def setup(self, flags: int) -> SetupConnection:
        """The message that opens the connection, with feature `flags`."""
        return SetupConnection(
            protocol=PROTOCOL_MINING,
            min_version=VERSION,
            max_version=VERSION,
            flags=flags,
            endpoint_host=self.host,
            endpoint_port=self.port,
            vendor=self.vendor,
            hardware_version=self.device,
            firmware=self.firmware,
            device_id="",
        )


async def set_up(connection: FrameConnection, setup: ClientSetup, timeout: float) -> None:
    """Say who we are and hear the answer; raises SetupFailed, TimeoutError or ConnectionLost.

    If extensions are wanted the request for them is sent, too.
    """
    connection.send(setup.start())
    async with asyncio.timeout(timeout):
        request = setup.receive(await connection.receive())
    if request is not None:
        connection.send(request)


async def negotiate_extensions(
    connection: FrameConnection, setup: ClientSetup, needed: frozenset[int], timeout: float
) -> frozenset[int]:
    """Hear which extensions are granted; a server that stays silent grants none.

    Raises UpstreamUnusable where one that is `needed` is not granted, and what ClientSetup and the
    connection raise.
    """
    try:
        async with asyncio.timeout(timeout):
            while not setup.ready:
                request = setup.receive(await connection.receive())
                if request is not None:
                    connection.send(request)
    except TimeoutError:
        _log.info("the upstream does not answer about extensions; going on without")
        setup.go_plain()
    if missing := needed - setup.extensions:
        names = ", ".join(f"{number:#06x}" for number in sorted(missing))
        raise UpstreamUnusable(f"the upstream does not grant the extension {names}")
    return setup.extensions
