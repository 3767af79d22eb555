"""All miners of one translator, and the one client that they share."""

import logging
import secrets
from functools import partial

from protocols.sv1.results import Subscription
from protocols.translation.errors import SlicesExhausted
from protocols.translation.extranonce import Layout, Slices
from protocols.translation.work import Drafts
from roles.runtime.ban_list import BanList
from roles.runtime.kernel import kernel
from roles.runtime.line_connection import LineConnection
from roles.stratum.firmware import classify
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_session import SessionLimits
from roles.stratum.mining_client import MiningClient
from roles.stratum.mining_session import MiningSession
from roles.stratum.reception import SESSION_ID_BYTES, Reception
from roles.stratum.tally import Tally
from roles.translator.hub import Hub, hub_maker
from roles.translator.miner import Miner

_log = logging.getLogger(__name__)

SMALLEST_EXTRANONCE2 = 4
"""Below it firmware runs out of work; an upstream that grants less than slice and this cannot be used."""


class Translator(Reception[Miner]):
    """Serves SV1 connections, each with an extranonce1 that no other has and a channel of its own.

    While the client is not connected new miners are refused, so that they mine elsewhere meanwhile.
    """

    def __init__(
        self,
        client: MiningClient,
        *,
        extranonce2_size: int,
        terms: LodgingTerms,
        limits: SessionLimits,
        bans: BanList | None = None,
        remembered: int = 2_000,
        session_s: float = 180.0,
        parked_sessions: int = 1_000,
        gather: float = 0.0,
    ) -> None:
        super().__init__(
            terms=terms,
            limits=limits,
            bans=bans,
            remembered=remembered,
            session_s=session_s,
            parked_sessions=parked_sessions,
        )
        self.layout = Layout(extranonce2_size)
        self.drafts = Drafts(kernel().prover)
        self._client = client
        self._slices = Slices(secrets.randbits(32))
        self._gather = gather
        self._hub: Hub | None = None

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
        granted = Subscription(extranonce1, layout.extranonce2_size, secrets.token_hex(SESSION_ID_BYTES))
        miner = Miner(self._client, granted, layout, self._terms, self, port_class=port_class)
        await self._receive(connection, miner)

    @property
    def totals(self) -> Tally:
        """The books of all, with what the hub has found."""
        if self._hub is not None:
            self._hub.count()
        return self._totals

    @property
    def seated(self) -> int:
        """Miners whom the native hub serves, without a session of their own."""
        return 0 if self._hub is None else len(self._hub)

    def seat(self, miner: Miner) -> None:
        """Serve a miner at the hub of its upstream from now on, where it can be and there is any."""
        channel = miner.channel
        if channel is None or not isinstance(carrier := channel.carrier, MiningSession):
            return
        if self._hub is None or self._hub.carrier is not carrier:
            self._hub = Hub(carrier, self._totals, self._limits.verdict_s, self._gather)
        self._hub.sit(miner.session, channel)

    def _begun(self, miner: Miner) -> None:
        if hub_maker() is not None:
            miner.session.desk.calmed = partial(self.seat, miner)

    def _vacated(self, miner: Miner) -> None:
        self._slices.give_back(miner.granted.extranonce1)

    def too_small(self) -> None:
        """Upstream grants too few bytes: offer later miners the least that all firmware takes."""
        if self.layout.extranonce2_size > SMALLEST_EXTRANONCE2:
            self.layout = Layout(SMALLEST_EXTRANONCE2)
            _log.warning("upstream grants few bytes of extranonce; miners get an extranonce2 of 4")
        else:
            _log.error("upstream grants too few bytes of extranonce for any miner")
