"""All miners of a solo pool, and the work that they have in common."""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from protocols.sv1.results import Subscription
from protocols.translation.errors import SlicesExhausted
from protocols.translation.extranonce import Layout, Slices
from protocols.translation.share import JudgedShare
from protocols.translation.work import Work
from roles.runtime.ban_list import BANNED, BanList
from roles.runtime.line_connection import LineConnection
from roles.solo_pool.miner import SoloMiner, Terms
from roles.solo_pool.reward import Rewards
from roles.solo_pool.workshop import Workshop
from roles.stratum.miner_roll import MinerRoll
from roles.stratum.miner_session import MinerSession, SessionLimits, SessionTiming
from roles.stratum.tally import Tally
from roles.stratum.work_rate import WorkRate
from roles.stratum.worker_metrics import Worker
from roles.templates.block import Block
from roles.templates.draft import Draft
from roles.templates.submission import Submitter

SESSION_ID_BYTES: Final = 16
GIVEN_KEPT: Final = 256
"""Blocks given to the node of which it is not known yet whether they were the tip."""
RENEWED_AT_ONCE: Final = 250
"""Miners that are given other work before others have their turn."""

_log = logging.getLogger(__name__)


class SoloPool:
    """Serves SV1 connections, each with an extranonce1 that no other has.

    While there is no work new miners are refused, so that they mine elsewhere meanwhile; so they are while
    `is_away` says that the node has been away for so long that its work is not worth doing.
    """

    def __init__(
        self,
        workshop: Workshop,
        rewards: Rewards,
        submitter: Submitter,
        *,
        layout: Layout,
        terms: Terms,
        limits: SessionLimits,
        bans: BanList,
        is_away: Callable[[], bool],
        remembered: int,
        firmware: str | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.totals = Tally(rate=WorkRate(self._loop.time()))
        self.roll = MinerRoll(remembered)
        self.turned_away = 0
        self.built_on = 0
        """Blocks of this pool that were the tip of the node's chain."""
        self._given: OrderedDict[bytes, None] = OrderedDict()
        self.is_away = is_away
        self._workshop = workshop
        self._rewards = rewards
        self._submitter = submitter
        self._layout = layout
        self._terms = terms
        self._limits = limits
        self._bans = bans
        self._firmware = firmware
        self._timing = SessionTiming(limits.tick_s)
        self._slices = Slices(secrets.randbits(32))
        self._miners: dict[SoloMiner, None] = {}
        self._submitting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._miners)

    def __iter__(self) -> Iterator[SoloMiner]:
        return iter(self._miners)

    @property
    def pending(self) -> int:
        """Blocks whose verdict the miner waits for."""
        return sum(miner.session.desk.pending for miner in self._miners)

    def workers(self) -> Iterator[Worker]:
        """Those that have named themselves, for metrics."""
        for miner in self._miners:
            if miner.script is not None:
                yield Worker(miner.user, miner.session.desk.tally, miner.session.told)

    def bind(self, terms: Terms, limits: SessionLimits) -> None:
        """Have other terms and limits for miners to come."""
        self._terms, self._limits = terms, limits

    def cut_barred(self) -> None:
        """Let go of miners that the operator turns away by now."""
        for miner in tuple(self._miners):
            if any(map(self.is_barred, miner.names)):
                miner.session.close("the operator turns this miner away", code=BANNED)

    async def take(self, draft: Draft) -> None:
        """Give all miners a draft to work on, if it is worth while."""
        if self._given and draft.previous in self._given:
            del self._given[draft.previous]
            self.built_on += 1
        is_new_tip = self._workshop.take(draft)
        if is_new_tip is None:
            return
        for number, miner in enumerate(tuple(self._miners), 1):
            if self._workshop.draft is not draft:
                return
            miner.renew(clean=is_new_tip)
            if number % RENEWED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def release(self) -> None:
        """The node has been away for too long: miners are let go to their other pools."""
        for miner in tuple(self._miners):
            miner.session.tell("The node is away; this miner is released to its other pools")
            miner.session.close("the node is away for too long", code="no-node")

    async def serve(self, connection: LineConnection) -> None:
        """Serve one connection to its end; raises ConnectionLost."""
        if self.is_away() or self._workshop.draft is None:
            self.turned_away += 1
            connection.close("no work", code="no-node")
            return
        try:
            extranonce1 = self._slices.take()
        except SlicesExhausted as error:
            connection.close(str(error), code="too-many-miners")
            return
        granted = Subscription(
            extranonce1, self._layout.extranonce2_size, secrets.token_hex(SESSION_ID_BYTES)
        )
        miner = SoloMiner(self._terms, self)
        miner.session = MinerSession(
            connection,
            miner,
            granted=granted,
            layout=self._layout,
            limits=self._limits,
            totals=self.totals,
            tally=self.roll.begin(self._loop.time()),
            port_class=self._firmware,
            timing=self._timing,
        )
        self._miners[miner] = None
        try:
            await miner.session.run()
        finally:
            del self._miners[miner]
            self._slices.give_back(extranonce1)
            self._leave(miner)

    async def drain(self) -> None:
        """Wait until every block that was found is on its way."""
        while self._submitting:
            await asyncio.wait(self._submitting)

    # What miners ask

    def admit(self, miner: SoloMiner, user: str) -> bytes:
        """Whom the blocks of a user name pay; its figures go on. Raises Rejection."""
        script = self._rewards.script_of(user)
        if miner.script is None:
            desk = miner.session.desk
            desk.tally = self.roll.recall(user, miner.session.host, desk.tally)
        return script

    def is_barred(self, user: str) -> bool:
        """Whether the operator turns a miner away."""
        return self._bans.bars_miner(user, None)

    def work(self, script: bytes) -> Work:
        """What there is to do."""
        return self._workshop.work(script)

    def block(self, work: Work, share: JudgedShare, ntime: int, nonce: int) -> Block | None:
        """The block that a share is; None where its tip is gone."""
        return self._workshop.block(work, share, ntime, nonce)

    def submit(self, block: Block, peer: str, told: Callable[[str | None], None]) -> None:
        """Give a block to the node."""
        self._given[block.hash] = None
        if len(self._given) > GIVEN_KEPT:
            self._given.popitem(last=False)
        task = self._loop.create_task(self._submitter.submit(block, peer, told))
        self._submitting.add(task)
        task.add_done_callback(self._submitting.discard)

    def _leave(self, miner: SoloMiner) -> None:
        if miner.script is None:
            return
        tally = miner.session.desk.tally
        if tally.total or tally.last is not None:
            self.roll.leave(miner.user, miner.session.host, tally)
        fates = {"shares": tally.local, "blocks": tally.accepted, "rejected": tally.rejected.total()}
        _log.info("a miner is gone", extra={"miner": miner.label, "peer": miner.session.peer, **fates})
