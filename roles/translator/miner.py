"""One miner: its SV1 session on one side, its own SV2 channel at the proxy on the other."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from protocols.bitcoin.target import MAX_TARGET, from_difficulty
from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.requests import Authorize, Submit
from protocols.sv2.layout import Message
from protocols.sv2.mining import NewExtendedMiningJob, SetExtranoncePrefix, SetNewPrevHash, SetTarget
from protocols.sv2.tlv import Tlv
from protocols.translation.errors import TranslationError
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.work import ChannelWork, Work
from roles.stratum.errors import StratumError
from roles.stratum.handshake import Answer
from roles.stratum.miner_roll import MinerRoll
from roles.stratum.miner_session import MinerSession
from roles.stratum.mining_client import MiningClient
from roles.stratum.submissions import LOST, Settle
from roles.stratum.upstream_channel import UPSTREAM_LOST, OpenTerms, UpstreamChannel
from roles.translator.identity import MinerIdentity, read_identity

_log = logging.getLogger(__name__)

_HARDEST_FLOOR = 1 << 40
"""A wish for shares harder than this difficulty is a mistake."""
_EASIEST_START = 2.0**-32
"""A hash."""
START_SHARES_PER_MINUTE = 6
"""What a difficulty to start from is turned into a hash rate by; the pool's vardiff takes over from there."""
_TOO_SMALL = "min-extranonce-size-too-large"
_TOO_HARD = "max-target-out-of-range"


@dataclass(frozen=True, slots=True)
class MinerTerms:
    """What every channel is opened with: the SV1 difficulty to start from, and waits in seconds.

    `start_difficulty`: the same for all, None to go by the class of the miner's firmware. `open_s`: for a new
    miner's channel. `hold_s`: for a channel that was lost, None for ever.
    """

    start_difficulty: float | None
    open_s: float
    hold_s: float | None


class Miner:
    """Owner of a session and of a channel; `too_small` is called when upstream's extranonce does not
    suffice.
    """

    def __init__(
        self,
        client: MiningClient,
        layout: Layout,
        terms: MinerTerms,
        too_small: Callable[[], None],
        roll: MinerRoll,
    ) -> None:
        self.session: MinerSession
        self.identity: MinerIdentity | None = None
        self.channel: UpstreamChannel | None = None
        self._client = client
        self._layout = layout
        self._terms = terms
        self._too_small = too_small
        self._roll = roll
        self._loop = asyncio.get_running_loop()
        self._answers: list[Answer] = []
        self._work: ChannelWork | None = None
        self._is_fresh = False
        self._floor: Fraction | None = None
        self._is_spoilt = False
        self._patience: asyncio.TimerHandle | None = None

    @property
    def is_held(self) -> bool:
        """Whether the miner waits for its channel and will be let go if it waits too long."""
        return self._patience is not None

    def close(self) -> None:
        """The miner is gone."""
        self._stop_waiting()
        if self.channel is not None:
            self.channel.close("the miner left")
        tally = self.session.desk.tally
        if self.identity is not None and (tally.total or tally.last is not None):
            self._roll.leave(self.identity.user, self.session.host, tally)
        if self.session.handshake.is_authorized:
            fates = {
                "accepted": tally.accepted,
                "rejected": tally.rejected.total(),
                "unknown": tally.unknown,
            }
            _log.info("a miner is gone", extra={**self._about(), **fates})

    # What the session asks

    def authorize(self, request: Authorize, answer: Answer) -> None:
        """The first name opens the channel, and is let in when that is open; later names share it."""
        identity = read_identity(request)
        if self.identity is not None and identity.key not in {None, self.identity.key}:
            raise Rejection(ErrorCode.UNAUTHORIZED, "Another key on the same connection")
        if self.channel is not None and self.channel.is_open:
            answer(None)
            return
        self._answers.append(answer)
        if self.channel is not None:
            return
        self.identity = identity
        desk = self.session.desk
        desk.tally = self._roll.recall(identity.user, self.session.host, desk.tally)
        if identity.floor is not None:
            self._floor = min(identity.floor, Fraction(_HARDEST_FLOOR))
        self._ask()
        self._wait(self._terms.open_s, "no channel in time")

    def suggested(self, difficulty: Fraction) -> None:
        """Where to start, and a floor for the difficulty, unless the password has set one."""
        if self._floor is None:
            self._floor = min(difficulty, Fraction(_HARDEST_FLOOR))
            if self.channel is not None:
                self.channel.update(self._hash_rate(), self._max_target())

    def found(self, share: JudgedShare, submit: Submit, work: Work, settle: Settle) -> None:
        """A share goes up the channel that its work came from; once that is gone nobody will judge it."""
        if self.channel is None or not self._is_fresh:
            settle(LOST)
            return
        try:
            self.channel.submit(
                job_id=work.job_id,
                nonce=submit.nonce,
                ntime=submit.ntime,
                version=share.version,
                extranonce=share.extranonce,
                settle=settle,
            )
        except StratumError:
            settle(LOST)

    # What the channel says

    def opening(self, extensions: frozenset[int]) -> OpenTerms:
        """The same wishes at each opening."""
        assert self.identity is not None
        user, tlvs = self.identity.on_wire(extensions)
        return OpenTerms(user, self._hash_rate(), self._max_target(), self._layout.needed, tlvs)

    def opened(self, tlvs: tuple[Tlv, ...]) -> None:
        """Fresh work follows; the miner keeps its extranonce1, whatever prefix is in front of it now."""
        del tlvs
        self._stop_waiting()
        channel = self.channel
        assert channel is not None
        if channel.extranonce_size < self._layout.needed:
            self._give_up_layout()
            return
        self._work = ChannelWork(
            self._layout, channel.extranonce_size, channel.extranonce_prefix, channel.target
        )
        answers, self._answers = self._answers, []
        for answer in answers:
            answer(None)
        if answers:
            _log.info("a miner is there", extra=self._about())

    def refused(self, code: str) -> None:
        """A miner that never had a channel is told and let go; one that had waits for better times."""
        if code == _TOO_SMALL:
            self._give_up_layout()
        elif code == _TOO_HARD and self._max_target() != MAX_TARGET:
            self._floor, self._is_spoilt = None, True
            if self.channel is not None:
                self.channel.close("asked for anew")
            self._ask()
        elif self._answers:
            answers, self._answers = self._answers, []
            for answer in answers:
                answer(Rejection(ErrorCode.UNAUTHORIZED, f"Refused upstream: {code}"))
            self.session.close(f"the channel was refused: {code}", code="channel-refused")

    def received(self, message: Message) -> None:
        """Turn jobs and tips into work; a target counts from the next work on."""
        work = self._work
        if work is None:
            return
        try:
            if isinstance(message, NewExtendedMiningJob):
                if (started := work.job(message)) is not None:
                    self.session.give(started, clean=False)
            elif isinstance(message, SetNewPrevHash):
                self.session.give(work.new_tip(message), clean=True)
                self._is_fresh = True
            elif isinstance(message, SetTarget):
                work.target = message.maximum_target
            elif isinstance(message, SetExtranoncePrefix):
                work.prefix = message.extranonce_prefix
        except TranslationError as error:
            _log.warning("unusable work", extra={"reason": str(error), "miner": self.session.peer})

    def lost(self, reason: str) -> None:
        """Keep the socket: the channel comes back, or the miner is released to its own fallback after the
        hold.
        """
        del reason
        self._work = None
        self._is_fresh = False
        given_up = self.channel is not None and self.channel.closed_for == UPSTREAM_LOST
        hold = 0.0 if given_up else self._terms.hold_s
        if hold is not None:
            self._wait(hold, "no upstream for too long")

    # The rest

    def _about(self) -> dict[str, object]:
        name = self.identity.label if self.identity else ""
        agent = self.session.handshake.user_agent
        return {"miner": name, "agent": agent, "peer": self.session.peer}

    def _ask(self) -> None:
        try:
            self.channel = self._client.open(self)
        except StratumError as error:
            self.session.close(str(error), code="no-channel")

    def _hash_rate(self) -> float:
        """What the miner is taken to have, in hashes a second, from the difficulty that it starts from."""
        start = self._terms.start_difficulty
        if self._floor is not None:
            start = float(self._floor)
        elif start is None:
            start = self.session.handshake.firmware.start_difficulty
        return max(start, _EASIEST_START) * 2**32 * START_SHARES_PER_MINUTE / 60

    def _max_target(self) -> int:
        least = self._floor or Fraction(0)
        if self._terms.start_difficulty is None and not self._is_spoilt:
            least = max(least, Fraction(self.session.handshake.firmware.least_difficulty))
        return max(1, from_difficulty(least)) if least else MAX_TARGET

    def _give_up_layout(self) -> None:
        self._too_small()
        self.session.close("upstream grants too small an extranonce", code="extranonce-too-small")

    def _wait(self, seconds: float, text: str) -> None:
        self._stop_waiting()
        self._patience = self._loop.call_later(seconds, self._release, text)

    def _release(self, text: str) -> None:
        self.session.tell("No pool is in reach; this miner is released to its other pools")
        self.session.close(text, code="no-upstream")

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
