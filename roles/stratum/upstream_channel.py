"""One mining channel that somebody downstream wants at the upstream, kept over reconnects."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from protocols.mining.lane import Lanes
from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetExtranoncePrefix,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
)
from protocols.sv2.share_frame import write_share
from protocols.sv2.tlv import Tlv
from roles.runtime import crash
from roles.stratum.alike import alike
from roles.stratum.connection import Plain
from roles.stratum.errors import ChannelNotOpen
from roles.stratum.keepsake import Keepsake, Tie, token_in
from roles.stratum.submissions import Settle, Submissions
from roles.stratum.upstream_requests import UpstreamRequests

_ID_SIZE = 4

__all__ = ["UPSTREAM_LOST", "Adapt", "ChannelOwner", "OpenTerms", "UpstreamChannel"]

UPSTREAM_LOST = "upstream-lost"
"""Reason of a CloseChannel by a proxy that has held its miners for its own upstream as long as it will."""

OpenSuccess = OpenExtendedMiningChannelSuccess | OpenStandardMiningChannelSuccess


@dataclass(frozen=True, slots=True)
class OpenTerms:
    """What to ask for when a channel is opened.

    `nominal_hash_rate` in hashes/s, `max_target` the easiest target accepted, `min_extranonce_size` in
    bytes, None for a standard channel.
    """

    user_identity: str
    nominal_hash_rate: float
    max_target: int
    min_extranonce_size: int | None
    tlvs: tuple[Tlv, ...] = ()


Adapt = Callable[[OpenTerms, frozenset[int]], OpenTerms]
"""What an upstream is asked for instead, where it has granted these extensions."""


class ChannelOwner(Protocol):
    """Who wants a channel. All calls come from the event loop's thread, must not block and must not raise.

    Where a better upstream takes over, `opened` comes without `lost`, and shares have been settled as LOST.
    """

    def opening(self, extensions: frozenset[int]) -> OpenTerms:
        """The channel is about to be asked for, on a connection that has granted `extensions`."""

    def opened(self, tlvs: tuple[Tlv, ...]) -> None:
        """The channel is open: its id, target, prefix and size stand in the UpstreamChannel."""

    def refused(self, code: str) -> None:
        """OpenMiningChannel.Error; asked again after a while unless the owner closes the channel."""

    def received(self, message: Message) -> None:
        """A message for this channel, in order.

        Jobs, SetNewPrevHash, SetTarget, SetExtranoncePrefix (already applied to the UpstreamChannel),
        UpdateChannel.Error and messages of extensions. Where the server addressed a group, `channel_id` is
        the group's.
        """

    def lost(self, reason: str) -> None:
        """The channel is no longer open; it is opened again as soon as possible. Its shares have been
        settled as LOST, unless it `is_resumable`: then they, and those to come, wait for that.
        """


class _Nobody:
    """Owns the channels that are closed: thousands of circles would be left to the collector, and wait."""

    def opening(self, _extensions: frozenset[int]) -> OpenTerms:
        """What is closed is not asked for."""
        raise RuntimeError("a closed channel is not opened")

    def opened(self, _tlvs: tuple[Tlv, ...]) -> None:
        """Nobody hears of it."""

    def refused(self, _code: str) -> None:
        """Nobody hears of it."""

    def received(self, _message: Message) -> None:
        """Nobody hears of it."""

    def lost(self, _reason: str) -> None:
        """Nobody hears of it."""


_NOBODY: Final = _Nobody()


class Carrier(Protocol):
    """What an open channel needs of its connection."""

    @property
    def extensions(self) -> frozenset[int]:
        """What the connection has been granted."""

    @property
    def where(self) -> str:
        """The name of the upstream."""

    def tie(self, token: bytes) -> Tie:
        """How a channel with this token can be resumed."""

    def now(self) -> float:
        """Monotonic seconds."""

    @property
    def requests(self) -> UpstreamRequests:
        """By which channels are changed and closed."""

    def submit(self, channel: "UpstreamChannel", share: Plain) -> None:
        """Send a share of a channel with others of about the same time."""

    @property
    def lanes(self) -> Lanes | None:
        """Its lanes, if it has any."""

    def watch_over(self, channel: "UpstreamChannel") -> None:
        """Shares of a channel wait for the upstream's word."""

    def release(self, channel: "UpstreamChannel") -> None:
        """The owner has closed the channel, or another connection has it."""

    def forsake(self, reason: str) -> bool:
        """Turn to another upstream if there is one; False where there is none."""


class UpstreamChannel:
    """A channel at the upstream, open or waiting to be.

    While `is_open`: `id`, `group_id`, `target` (as last set), `extranonce_prefix` and `extranonce_size`
    (the bytes behind the prefix that are ours; 0 for a standard channel) are the upstream's; they may be
    others after each opening.
    """

    __slots__ = (
        "_carrier",
        "_forget",
        "_kept",
        "_submissions",
        "_tie",
        "bring_back",
        "closed_for",
        "extranonce_prefix",
        "extranonce_size",
        "group_id",
        "id",
        "is_closed",
        "is_resumed",
        "owner",
        "target",
    )

    def __init__(
        self, owner: ChannelOwner, forget: Callable[["UpstreamChannel"], None], submission_limit: int
    ) -> None:
        self.owner = owner
        self.is_closed = False
        self.closed_for = ""
        self.id = 0
        self.group_id = 0
        self.target = 0
        self.extranonce_prefix = b""
        self.extranonce_size = 0
        self._submissions = Submissions(submission_limit)
        self.bring_back: Callable[[], None] | None = None
        """Where shares are awaited elsewhere, which is for lanes: what has them awaited here again."""
        self.is_resumed = False
        """Whether the last opening resumed what was there before: jobs and shares go on."""
        self._carrier: Carrier | None = None
        self._forget = forget
        self._tie: Tie | None = None
        self._kept: Keepsake | None = None

    @property
    def submissions(self) -> Submissions:
        """The shares that wait for the upstream's word."""
        if self.bring_back is not None:
            self.bring_back()
        return self._submissions

    @property
    def is_waiting(self) -> bool:
        """Whether shares wait that were not lent."""
        return len(self._submissions) > 0

    @property
    def lanes(self) -> Lanes | None:
        """The lanes of the connection that carries the channel, if it has any."""
        return None if self._carrier is None else self._carrier.lanes

    def lend(self, bring_back: Callable[[], None]) -> tuple[int, int, int]:
        """Have shares numbered and awaited elsewhere, while none waits here, until `bring_back` is called.

        Returns the channel's id, the number of the next share, and how many may wait.
        """
        self.bring_back = bring_back
        return self.id, self._submissions.next, self._submissions.limit

    def take_back(self, following: int, shares: Sequence[tuple[int, float, Settle, Plain]]) -> None:
        """End that; the next number and the shares that wait are these."""
        self.bring_back = None
        self._submissions.restore(following, shares)
        if shares and self._carrier is not None:
            self._carrier.watch_over(self)

    @property
    def is_resumable(self) -> bool:
        """Whether the channel was lost and may be resumed: shares wait for that."""
        return self._kept is not None

    @property
    def is_open(self) -> bool:
        """Whether shares can be submitted now."""
        return self._carrier is not None

    @property
    def has_room(self) -> bool:
        """Whether one more share could be submitted now."""
        return (self._carrier is not None or self._kept is not None) and not self.submissions.is_full

    @property
    def extensions(self) -> frozenset[int]:
        """What the connection that carries the channel has been granted, or did that may be resumed."""
        if self._carrier is not None:
            return self._carrier.extensions
        return self._kept.tie.extensions if self._kept is not None else frozenset()

    @property
    def carrier(self) -> Carrier | None:
        """The connection that it is open on."""
        return self._carrier

    def is_carried_by(self, carrier: Carrier) -> bool:
        """Whether the channel is open on this connection."""
        return self._carrier is carrier

    def forsake(self, reason: str) -> bool:
        """What was granted does not do: mine elsewhere; False where there is nowhere else."""
        return self._carrier is not None and self._carrier.forsake(reason)

    def submit(
        self,
        *,
        job_id: int,
        nonce: int,
        ntime: int,
        version: int,
        extranonce: bytes | None,
        settle: Settle,
        tlvs: Iterable[Tlv] = (),
        now: float | None = None,
    ) -> int:
        """Send a share and return its sequence number; `settle` is called once with the verdict.

        `extranonce` is the rolled part, `extranonce_size` bytes, None on a standard channel. Raises
        ChannelNotOpen and SubmissionsFull, both before anything is sent; `settle` is not called then. Who
        knows what time it is, in monotonic seconds, says so: a call less.
        """
        carrier = self._carrier
        if carrier is None and self._kept is None:
            raise ChannelNotOpen("the upstream channel is not open")
        sequence = self.submissions.next
        share: Plain
        if extranonce is not None and not tlvs:
            share = write_share((self.id, sequence, job_id, nonce, ntime, version), extranonce)
        else:
            message: Message
            if extranonce is None:
                message = SubmitSharesStandard(self.id, sequence, job_id, nonce, ntime, version)
            else:
                message = SubmitSharesExtended(self.id, sequence, job_id, nonce, ntime, version, extranonce)
            frame = encode(message, tlvs)
            share = (frame.header(), frame.payload)
        if carrier is None:
            return self.submissions.add(asyncio.get_running_loop().time(), settle, share)
        self.submissions.add(carrier.now() if now is None else now, settle, share)
        carrier.submit(self, share)
        return sequence

    def update(self, nominal_hash_rate: float, maximum_target: int) -> None:
        """Tell the upstream a new hash rate (hashes/s) and easiest target; without effect while not open.

        `opening` is asked again on the next opening, so the owner keeps what it said here.
        """
        if self._carrier is not None:
            self._carrier.requests.update(self.id, nominal_hash_rate, maximum_target)

    def close(self, reason: str) -> None:
        """End the channel for good; unanswered shares are settled as LOST, `lost` is not called."""
        if self.is_closed:
            return
        self.is_closed = True
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.requests.close(self.id, reason)
            carrier.release(self)
        self._forget(self)
        self._let_go()
        self.submissions.lose()
        self.owner = _NOBODY

    def request(self, request_id: int, where: str, extensions: frozenset[int], adapt: Adapt) -> Frame:
        """The frame that asks for the channel at an upstream; used by the client."""
        terms = adapt(self.owner.opening(extensions), extensions)
        token = self._kept.tlvs(where, extensions) if self._kept is not None else ()
        message: Message
        if terms.min_extranonce_size is None:
            message = OpenStandardMiningChannel(
                request_id, terms.user_identity, terms.nominal_hash_rate, terms.max_target
            )
        else:
            message = OpenExtendedMiningChannel(
                request_id,
                terms.user_identity,
                terms.nominal_hash_rate,
                terms.max_target,
                terms.min_extranonce_size,
            )
        return encode(message, (*terms.tlvs, *token))

    def grant(self, carrier: Carrier, answer: OpenSuccess, tlvs: tuple[Tlv, ...]) -> int:
        """The upstream opened the channel, maybe while another one has it; used by the client.

        Returns how many shares were sent again, where it resumed the one that was lost.
        """
        if self._carrier is not None:
            # What it has not answered would be answered out of order: nobody could tell shares apart.
            self._carrier.requests.close(self.id, "mining elsewhere")
            self._carrier.release(self)
            self.submissions.lose()
        self.is_resumed = self._is_same(carrier, answer)
        if self.is_resumed and self._kept is not None:
            self._kept.end()
            self._kept = None
        self._let_go()
        token = token_in(tlvs)
        self._tie = carrier.tie(token) if token else None
        self._carrier = carrier
        self.id = answer.channel_id
        self.group_id = answer.group_channel_id
        self.target = alike(answer.target)
        self.extranonce_prefix = answer.extranonce_prefix
        self.extranonce_size = (
            answer.extranonce_size if isinstance(answer, OpenExtendedMiningChannelSuccess) else 0
        )
        self.owner.opened(tlvs)
        if not self.is_resumed or self._carrier is not carrier:
            return 0
        shares = self.submissions.shares
        for header, payload in shares:
            carrier.submit(self, (header, self.id.to_bytes(_ID_SIZE, "little") + payload[_ID_SIZE:]))
        if shares:
            crash.once_sent("proxy.shares-sent-again")
        return len(shares)

    def _is_same(self, carrier: Carrier, answer: OpenSuccess) -> bool:
        """Whether an answer resumes what was lost: a prefix that was granted anew would be another."""
        kept = self._kept
        size = answer.extranonce_size if isinstance(answer, OpenExtendedMiningChannelSuccess) else 0
        granted = (answer.extranonce_prefix, size)
        return (
            kept is not None
            and kept.was_shown
            and kept.tie.where == carrier.where
            and granted == (self.extranonce_prefix, self.extranonce_size)
        )

    def deliver(self, message: Message) -> None:
        """A message for this channel; used by the client."""
        if isinstance(message, SetTarget):
            self.target = alike(message.maximum_target)
        elif isinstance(message, SetExtranoncePrefix):
            self.extranonce_prefix = message.extranonce_prefix
        self.owner.received(message)

    def lose(self, reason: str, code: str = "") -> bool:
        """Connection or channel ended, the latter with the upstream's `code`; used by the client.

        Returns whether shares were settled as LOST: where the channel may be resumed, they wait.
        """
        self._carrier = None
        self.closed_for = code
        tie, self._tie = self._tie, None
        if tie is None or code:
            self.submissions.lose()
        else:
            self._kept = Keepsake(tie, self.submissions, self._let_go)
        self.owner.lost(reason)
        return self._kept is None

    def _let_go(self) -> None:
        """Nothing will be resumed: shares that wait for it are lost."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.give_up()
