"""An SV1 pool that lets every name in and accepts every share at once, so that only those before it are
measured.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Final

import orjson

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.target import DIFFICULTY_ONE, SPACE
from protocols.sv1.notifications import Notify, notify, set_difficulty
from protocols.translation.version_mask import SV1_MASK
from shared_config.address import Address

HASHES: Final = 16
"""Expected hashes of a share."""
DIFFICULTY: Final = HASHES * DIFFICULTY_ONE / SPACE * (1 + 1e-9)
"""So little harder that whoever counts in whole hashes finds so many and no fewer."""
COINBASE: Final = (
    bytes.fromhex("02000000" + "01" + "00" * 32 + "ffffffff" + "1c" + "0352414e" + "14"),
    bytes.fromhex("feffffff" + "01" + "00f2052a01000000" + "0151" + "00000000"),
)
BRANCHES: Final = tuple(sha256(bytes((number,))) for number in range(12))
"""As many as a full block has."""
EXTRANONCE2: Final = 8
VERSION: Final = 0x20000000
BITS: Final = 0x17034219


class YesSv1Pool:
    """Serves any number of connections; `accepted` counts their shares."""

    def __init__(self) -> None:
        self.accepted = 0
        self._tip = 0
        self._works = count(1)
        self._prefixes = count(1)
        self._peers: dict[asyncio.StreamWriter, None] = {}

    def move_tip(self) -> float:
        """Give all work on another tip; returns when that began, in Unix seconds."""
        self._tip += 1
        return self._tell(clean=True)

    def renew(self) -> float:
        """Give all other work on the present tip."""
        return self._tell(clean=False)

    def waits(self, user: str) -> tuple[float, ...]:
        """It makes no share wait."""
        del user
        return ()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client until it goes."""
        self._peers[writer] = None
        with suppress(ConnectionError):
            while line := await reader.readline():
                self._take(writer, orjson.loads(line))
        del self._peers[writer]
        writer.close()

    def _take(self, writer: asyncio.StreamWriter, message: dict[str, object]) -> None:
        method, result = message.get("method"), b"true"
        if method == "mining.submit":
            self.accepted += 1
        elif method == "mining.configure":
            result = orjson.dumps({"version-rolling": True, "version-rolling.mask": f"{SV1_MASK:08x}"})
        elif method == "mining.subscribe":
            extranonce1 = next(self._prefixes).to_bytes(4, "big").hex()
            names = [["mining.set_difficulty", extranonce1], ["mining.notify", extranonce1]]
            result = orjson.dumps([names, extranonce1, EXTRANONCE2])
        writer.write(b'{"id":%b,"result":%b,"error":null}\n' % (orjson.dumps(message["id"]), result))
        if method == "mining.authorize":
            writer.write(set_difficulty(DIFFICULTY))
            writer.write(self._work(clean=True))

    def _tell(self, *, clean: bool) -> float:
        line, begun = self._work(clean=clean), time.time()
        for writer in self._peers:
            writer.write(line)
        return begun

    def _work(self, *, clean: bool) -> bytes:
        number = next(self._works)
        first, last = COINBASE
        previous = sha256(b"tip" + self._tip.to_bytes(4, "little"))
        coinbase2 = last + number.to_bytes(4, "big")
        now = int(time.time())
        return notify(Notify(f"{number:x}", previous, first, coinbase2, BRANCHES, VERSION, BITS, now, clean))


@asynccontextmanager
async def yes_sv1_pool(address: Address) -> AsyncIterator[YesSv1Pool]:
    """Such a pool at an address."""
    pool = YesSv1Pool()
    server = await asyncio.start_server(pool.serve, address.host, address.port)
    try:
        yield pool
    finally:
        server.close()
