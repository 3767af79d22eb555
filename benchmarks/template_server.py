"""A template provider with one template and no node behind it: what the pool is given never changes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.site import Site
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.target import from_bits
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION, encode
from protocols.sv2.connection import PROTOCOL_TEMPLATE_DISTRIBUTION
from protocols.sv2.limits import FrameLimits
from protocols.sv2.setup import ServerSetup
from protocols.sv2.template_distribution import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from roles.runtime.authority import authority_secret
from roles.runtime.state import role_state
from roles.runtime.sv2_connection import Sv2Connection, serve

PATH_NODES: Final = 12
HEIGHT_PUSH: Final = b"\x03\x40\x0d\x03"
"""BIP34: height 200,000."""
REGTEST_BITS: Final = 0x207FFFFF
REWARD: Final = 50 * 100_000_000
COMMITMENT: Final = bytes(8) + b"\x26\x6a\x24\xaa\x21\xa9\xed" + bytes(32)
"""The output without value that commits to the witnesses."""


class TemplateServer:
    """Gives every client the same template, and all of them a new tip when it is asked to."""

    def __init__(self, path_nodes: int = PATH_NODES, bits: int = REGTEST_BITS) -> None:
        self._path_nodes = path_nodes
        self._bits = bits
        self._tip = 0
        self._clients: set[Sv2Connection] = set()

    def move_tip(self) -> None:
        """Give all clients a template on another tip, at once."""
        self._tip += 1
        for client in self._clients:
            self._offer(client)

    async def serve(self, connection: Sv2Connection) -> None:
        """Talk to one client until it goes; raises ConnectionLost and Sv2Error."""
        setup = ServerSetup(PROTOCOL_TEMPLATE_DISTRIBUTION)
        answer = setup.receive(await connection.receive())
        if answer is not None:
            connection.send(answer)
        try:
            while True:
                message, _ = TEMPLATE_DISTRIBUTION.decode(await connection.receive())
                if isinstance(message, CoinbaseOutputConstraints):
                    self._clients.add(connection)
                    self._offer(connection)
                elif isinstance(message, RequestTransactionData):
                    connection.send(encode(RequestTransactionDataSuccess(message.template_id, b"", ())))
        finally:
            self._clients.discard(connection)

    def _offer(self, connection: Sv2Connection) -> None:
        template = new_template(self._tip + 1, self._path_nodes)
        previous = sha256(b"tip" + self._tip.to_bytes(4, "little"))
        bits = self._bits
        tip = SetNewPrevHash(template.template_id, previous, int(time.time()), bits, from_bits(bits))
        connection.send(encode(template), encode(tip))


def new_template(template_id: int, path_nodes: int = PATH_NODES) -> NewTemplate:
    """A template to be activated by a tip, behind a merkle path of so many nodes."""
    return NewTemplate(
        template_id=template_id,
        future_template=True,
        version=0x20000000,
        coinbase_tx_version=2,
        coinbase_prefix=HEIGHT_PUSH,
        coinbase_tx_input_sequence=0xFFFFFFFF,
        coinbase_tx_value_remaining=REWARD,
        coinbase_tx_outputs_count=1,
        coinbase_tx_outputs=COMMITMENT,
        coinbase_tx_locktime=0,
        merkle_path=tuple(sha256(bytes((number,))) for number in range(path_nodes)),
    )


@asynccontextmanager
async def template_server(site: Site, *, bits: int = REGTEST_BITS) -> AsyncIterator[TemplateServer]:
    """A template server where the pool of a site looks for its template provider, with the key it expects;
    blocks are as hard as `bits` say.
    """
    templates = TemplateServer(bits=bits)
    server = serve(
        site.shared_address("pool", "template_provider.address"),
        authority_secret(role_state(site.state, "template_provider")),
        templates.serve,
        limit=FrameLimits(TEMPLATE_DISTRIBUTION),
        setting="template_provider.address",
    )
    task = asyncio.create_task(server.run())
    try:
        yield templates
    finally:
        task.cancel()
        await asyncio.wait({task})
