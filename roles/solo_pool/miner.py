"""One SV1 miner: its address, its work, and the blocks that it finds."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Final, Protocol

from protocols.bitcoin.target import MAX_TARGET, from_difficulty
from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Authorize, Submit
from protocols.sv1.results import Subscription
from protocols.translation.share import JudgedShare
from protocols.translation.work import Work
from roles.runtime.ban_list import BANNED
from roles.stratum.credentials import as_written, asked_difficulty
from roles.stratum.handshake import Answer
from roles.stratum.miner_session import MinerSession
from roles.stratum.submissions import ACCEPTED, Outcome, Settle, Verdict
from roles.templates.block import Block
from roles.templates.submission import is_taken

NAME_SHOWN: Final = 64
EASIEST_START: Final = 2.0**-32
_HARDEST_FLOOR: Final = Fraction(10) ** 15

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """`start_difficulty`: the same for all, None to go by the class of the miner's firmware."""

    start_difficulty: float | None
    shares_per_minute: float


class Landlord(Protocol):
    """Who knows all miners, and what there is to do."""

    def admit(self, miner: "SoloMiner", user: str) -> bytes:
        """The script that the miner's blocks pay; raises Rejection."""

    def is_barred(self, user: str) -> bool:
        """Whether the operator turns this miner away."""

    def work(self, script: bytes) -> Work:
        """What there is to do."""

    def block(self, work: Work, share: JudgedShare, ntime: int, nonce: int) -> Block | None:
        """The block that a share is; None for one that came too late."""

    def submit(self, block: Block, peer: str, told: Callable[[str | None], None]) -> None:
        """Give a block to the node, and have `told` called with its verdict."""


class SoloMiner:
    """Owner of a session."""

    def __init__(self, terms: Terms, landlord: Landlord) -> None:
        self.session: MinerSession
        self.user = ""
        """Its name; empty before it has named itself."""
        self.names: set[str] = set()
        """All that it says it is; as many as the session lets a connection name."""
        self.script: bytes | None = None
        self.terms = terms
        self._landlord = landlord
        self._floor: Fraction | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def label(self) -> str:
        """The name for logs: printable and short."""
        return "".join(c if c.isprintable() else "?" for c in self.user[:NAME_SHOWN])

    @property
    def agent(self) -> str:
        """What its firmware calls itself."""
        return self.session.handshake.user_agent

    def renew(self, *, clean: bool) -> None:
        """There is other work; `clean` ends what was before it."""
        if self.script is not None:
            self.session.give(self._landlord.work(self.script), clean=clean)

    # What the session asks

    def authorize(self, request: Authorize, answer: Answer) -> None:
        """The first name says whom blocks pay; later ones must say the same."""
        user = as_written(request.user)
        if self._landlord.is_barred(user):
            # Behind the answer.
            close = partial(self.session.close, "the operator turns this miner away", code=BANNED)
            self._loop.call_soon(close)
            raise Rejection(ErrorCode.UNAUTHORIZED, "Turned away by the operator of this address")
        self.names.add(user)
        if self.script is not None:
            if self._landlord.admit(self, user) != self.script:
                raise Rejection(ErrorCode.UNAUTHORIZED, "Another address on the same connection")
            answer(None)
            return
        self.script, self.user = self._landlord.admit(self, user), user
        floor = asked_difficulty(request.password)
        if floor is not None:
            self._floor = min(floor, _HARDEST_FLOOR)
        self._expect()
        self.renew(clean=True)
        answer(None)
        _log.info(
            "a miner is there", extra={"miner": self.label, "agent": self.agent, "peer": self.session.peer}
        )

    def suggested(self, difficulty: Fraction) -> None:
        """Where to start, and a floor for the difficulty, unless the password has set one."""
        if self._floor is None:
            self._floor = min(difficulty, _HARDEST_FLOOR)
            self._expect()

    def welcome(self, session: str) -> Subscription | None:
        """Nothing is kept of a miner that has left: its work is worth nothing but for its blocks."""
        del session
        return None

    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle) -> None:
        """A block: it goes to the node before anything else."""
        block = self._landlord.block(work, share, submit.ntime, submit.nonce)
        if block is None:
            settle(Verdict(Outcome.REFUSED, "stale-share"))
            return

        def told(verdict: str | None) -> None:
            settle(ACCEPTED if is_taken(verdict) else Verdict(Outcome.REFUSED, f"block-{verdict}"))

        self._landlord.submit(block, self.session.peer, told)

    def _expect(self) -> None:
        start, least = self.terms.start_difficulty, Fraction(0)
        firmware = self.session.handshake.firmware
        if start is None:
            start, least = firmware.start_difficulty, Fraction(firmware.least_difficulty)
        if self._floor is not None:
            start, least = float(self._floor), max(least, self._floor)
        hash_rate = max(start, EASIEST_START) * 2**32 * self.terms.shares_per_minute / 60
        self.session.expect(hash_rate, max(1, from_difficulty(least)) if least else MAX_TARGET)
