"""All miners of one translator, and the one client that they share."""

import asyncio
import logging
import secrets
from collections.abc import Iterator

from protocols.translation.errors import SlicesExhausted
from protocols.translation.extranonce import Layout, Slices
from roles.runtime.line_connection import LineConnection
from roles.stratum.firmware import classify
from roles.stratum.miner_roll import MinerRoll
from roles.stratum.miner_session import MinerSession, SessionLimits
from roles.stratum.mining_client import MiningClient
from roles.stratum.tally import Tally
from roles.stratum.work_rate import WorkRate
from roles.translator.miner import Miner, MinerTerms

_log = logging.getLogger(__name__)

SMALLEST_EXTRANONCE2 = 4
"""Below it firmware runs out of work; an upstream that grants less than slice and this cannot be used."""


class Translator:
    """Serves SV1 connections, each with an extranonce1 that no other has and a channel of its own.

    While the client is not connected new miners are refused, so that they mine elsewhere meanwhile. Of those
    that leave, `remembered` go on with their figures when they come back.
    """

    def __init__(
        self,
        client: MiningClient,
        *,
        extranonce2_size: int,
        terms: MinerTerms,
        limits: SessionLimits,
        remembered: int = 10_000,
    ) -> None:
        self.totals = Tally(rate=WorkRate(asyncio.get_running_loop().time()))
        self.roll = MinerRoll(remembered)
        self.turned_away = 0
        self.layout = Layout(extranonce2_size)
        self._client = client
        self._terms = terms
        self._limits = limits
        self._slices = Slices(secrets.randbits(32))
        self._miners: dict[Miner, None] = {}

    def __len__(self) -> int:
        return len(self._miners)

    def __iter__(self) -> Iterator[Miner]:
        return iter(self._miners)

    @property
    def pending(self) -> int:
        """Shares that wait for their verdict."""
        return sum(miner.session.desk.pending for miner in self._miners)

    async def serve(self, connection: LineConnection, port_class: str | None = None) -> None:
        """Serve one connection to its end, on a port for any or for one class of firmware.

        Raises ConnectionLost.
        """
        if not self._client.is_connected:
            self.turned_away += 1
            connection.close("no upstream", code="no-upstream")
            return
        try:
            extranonce1 = self._slices.take()
        except SlicesExhausted as error:
            connection.close(str(error), code="too-many-miners")
            return
        size = classify("", port_class).extranonce2_size
        layout = Layout(size) if size is not None else self.layout
        miner = Miner(self._client, layout, self._terms, self._shrink, self.roll)
        miner.session = MinerSession(
            connection,
            miner,
            extranonce1=extranonce1,
            layout=layout,
            session_id=secrets.token_hex(8),
            limits=self._limits,
            totals=self.totals,
            tally=self.roll.begin(asyncio.get_running_loop().time()),
            port_class=port_class,
        )
        self._miners[miner] = None
        try:
            await miner.session.run()
        finally:
            del self._miners[miner]
            miner.close()
            self._slices.give_back(extranonce1)

    def _shrink(self) -> None:
        """Upstream grants too few bytes: offer later miners the least that all firmware takes."""
        if self.layout.extranonce2_size > SMALLEST_EXTRANONCE2:
            self.layout = Layout(SMALLEST_EXTRANONCE2)
            _log.warning("upstream grants few bytes of extranonce; miners get an extranonce2 of 4")
        else:
            _log.error("upstream grants too few bytes of extranonce for any miner")
