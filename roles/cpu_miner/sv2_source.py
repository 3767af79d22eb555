"""Work from an SV2 server over one mining channel, shares back to it."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from protocols.sv2.layout import Message
from protocols.sv2.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash
from protocols.sv2.tlv import Tlv
from roles.cpu_miner.tally import Tally, Verdict
from roles.cpu_miner.work import ROLLED_BITS, Candidate, Work
from roles.runtime.readiness import Readiness
from roles.stratum.errors import StratumError
from roles.stratum.mining_client import MiningClient
from roles.stratum.submissions import Outcome
from roles.stratum.submissions import Verdict as Answer
from roles.stratum.upstream_channel import OpenTerms

WORK = "work"
"""The condition of readiness."""
EASIEST = (1 << 256) - 1
MIN_EXTRANONCE = 4
FUTURE_JOBS = 16

VERDICTS = {
    Outcome.ACCEPTED: Verdict.ACCEPTED,
    Outcome.REFUSED: Verdict.REJECTED,
    Outcome.LOST: Verdict.UNKNOWN,
}

_log = logging.getLogger(__name__)


class Sv2Source:
    """Owns a channel of a mining client: `assign` hears of work, `submit` takes what is found on it.

    A piece of work keeps the target it began with: a SetTarget holds for jobs that begin later.
    """

    def __init__(
        self,
        client: MiningClient,
        *,
        user: str,
        is_extended: bool,
        hashes_per_s: int,
        assign: Callable[[Work | None, bool], None],
        tally: Tally,
        readiness: Readiness,
    ) -> None:
        self._client = client
        self._user = user
        self._is_extended = is_extended
        self._hashes_per_s = hashes_per_s
        self._assign = assign
        self._tally = tally
        self._readiness = readiness
        self._tip: SetNewPrevHash | None = None
        self._future: OrderedDict[int, Work] = OrderedDict()
        self._channel = client.open(self)
        readiness.declare(WORK, "no job yet")

    async def run(self) -> None:
        """Connect, mine and reconnect until cancelled."""
        await self._client.run()

    def submit(self, candidate: Candidate) -> None:
        """Send a share of the present channel's work; its verdict is counted."""
        piece = candidate.piece
        self._tally.sent()
        try:
            self._channel.submit(
                job_id=int(piece.work.job_id),
                nonce=candidate.nonce,
                ntime=piece.ntime,
                version=piece.version,
                extranonce=piece.extranonce if self._is_extended else None,
                settle=self._settle,
            )
        except StratumError as error:
            _log.info("a share could not be sent", extra={"reason": str(error)})
            self._tally.settle(Verdict.UNKNOWN)

    # What the client calls

    def opening(self, _extensions: frozenset[int]) -> OpenTerms:
        return OpenTerms(
            user_identity=self._user,
            nominal_hash_rate=float(self._hashes_per_s),
            max_target=EASIEST,
            min_extranonce_size=MIN_EXTRANONCE if self._is_extended else None,
        )

    def opened(self, _tlvs: tuple[Tlv, ...]) -> None:
        self._tip = None
        self._future.clear()

    def refused(self, code: str) -> None:
        _log.warning("the channel was refused", extra={"reason": code})
        self._readiness.unmet(WORK, f"the channel was refused: {code}")

    def received(self, message: Message) -> None:
        match message:
            case NewExtendedMiningJob() if self._is_extended:
                self._offer(message.min_ntime, self._extended(message))
            case NewMiningJob() if not self._is_extended:
                self._offer(message.min_ntime, self._standard(message))
            case SetNewPrevHash():
                self._new_tip(message)
            case _:
                _log.debug("nothing to do about %s", type(message).__name__)

    def lost(self, reason: str) -> None:
        self._readiness.unmet(WORK, reason)
        self._assign(None, True)

    # Jobs

    def _extended(self, job: NewExtendedMiningJob) -> Work:
        return Work(
            job_id=job.job_id,
            previous=b"",
            version=job.version,
            bits=0,
            ntime=0,
            target=0,
            mask=ROLLED_BITS if job.version_rolling_allowed else 0,
            coinbase1=job.coinbase_tx_prefix + self._channel.extranonce_prefix,
            coinbase2=job.coinbase_tx_suffix,
            merkle_path=job.merkle_path,
            extranonce_size=self._channel.extranonce_size,
        )

    def _standard(self, job: NewMiningJob) -> Work:
        return Work(
            job_id=job.job_id,
            previous=b"",
            version=job.version,
            bits=0,
            ntime=0,
            target=0,
            mask=ROLLED_BITS,
            merkle_root=job.merkle_root,
        )

    def _offer(self, min_ntime: int | None, work: Work) -> None:
        if min_ntime is None:
            self._future[int(work.job_id)] = work
            if len(self._future) > FUTURE_JOBS:
                self._future.popitem(last=False)
        elif self._tip is None:
            _log.warning("a job to begin at once came before any previous hash")
        else:
            self._begin(work, self._tip, min_ntime, is_clean=False)

    def _new_tip(self, tip: SetNewPrevHash) -> None:
        self._tip = tip
        work = self._future.get(tip.job_id)
        self._future.clear()
        if work is None:
            _log.warning("the new previous hash names a job that was never sent")
            self._assign(None, True)
        else:
            self._begin(work, tip, tip.min_ntime, is_clean=True)

    def _begin(self, work: Work, tip: SetNewPrevHash, ntime: int, *, is_clean: bool) -> None:
        target = self._channel.target
        started = replace(work, previous=tip.prev_hash, bits=tip.nbits, ntime=ntime, target=target)
        self._readiness.met(WORK)
        self._assign(started, is_clean)

    def _settle(self, answer: Answer) -> None:
        self._tally.settle(VERDICTS[answer.outcome], answer.code)
