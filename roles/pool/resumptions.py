"""Resuming from a session's point of view: tokens are given with channels, and channels for tokens."""

from collections.abc import Callable, Iterable

from protocols.ehash.messages import EXTENSION, TLV_RESUME_TOKEN
from protocols.sv2.mining import OpenExtendedMiningChannel
from protocols.sv2.tlv import Tlv
from roles.pool.admission import Admission, OpenRequest
from roles.pool.books import Claims
from roles.pool.meters import Meters
from roles.pool.miner_channel import MinerChannel
from roles.pool.records import Holder, Records, prefix_of
from roles.pool.resume_store import Raw, Result
from roles.pool.revival import Revival, Revived
from roles.pool.roster import Addressing, Roster


class Resumptions:
    """What the sessions of a process share of it."""

    def __init__(
        self, records: Records, claims: Claims, revival: Revival, admission: Admission, meters: Meters
    ) -> None:
        self._records = records
        self._claims = claims
        self._revival = revival
        self._admission = admission
        self._meters = meters

    def present(
        self,
        request: OpenRequest,
        tlvs: Iterable[Tlv],
        key: bytes | None,
        told: Callable[[Revived | None], None],
    ) -> bool:
        """Look for the channel that a request wants to go on with; `told` is called once, maybe at once.

        False where it names none.
        """
        token = next((tlv.value for tlv in tlvs if tlv[:2] == (EXTENSION, TLV_RESUME_TOKEN)), None)
        if token is None:
            return False

        def claimed(result: Result, raw: Raw | None) -> None:
            revived: Revived | Result = result
            if raw is not None:
                is_extended = isinstance(request, OpenExtendedMiningChannel)
                revived = self._revival.revive(raw, is_extended=is_extended, max_target=request.max_target)
            if isinstance(revived, Revived):
                told(revived)
                return
            if raw is not None:
                self._admission.give_up(prefix_of(raw))
            self._meters.resumptions.presented.labels(revived.value).inc()
            told(None)

        self._claims.claim(token, key, claimed)
        return True

    def give_up(self, revived: Revived) -> None:
        """Nothing came of it: the channel was not opened."""
        self._admission.give_up(revived.prefix)
        self._meters.resumptions.presented.labels(Result.UNFIT.value).inc()

    def enter(
        self, holder: Holder, roster: Roster, member: MinerChannel, revived: Revived | None
    ) -> tuple[Tlv, ...]:
        """Record a channel that is about to be opened; what goes with the answer."""
        if revived is not None:
            self._meters.resumptions.presented.labels(Result.RESUMED.value).inc()
        if roster.addressing is Addressing.NOWHERE:
            return ()
        targets, jobs = ((), ()) if revived is None else (revived.targets, revived.records)
        token = self._records.enter(holder, roster, member, targets, jobs)
        return () if token is None else (Tlv(EXTENSION, TLV_RESUME_TOKEN, token),)

    def close(self, members: Iterable[MinerChannel]) -> None:
        """A client has closed channels."""
        for member in members:
            self._records.close(member)

    def end(self, roster: Roster) -> None:
        """A connection is over."""
        self._records.end(roster)
