"""One miner: its SV1 session on one side, its own SV2 channel at the proxy on the other."""

import logging
from typing import Protocol

from protocols.bitcoin.target import MAX_TARGET
from protocols.ehash.messages import QuoteNotice
from protocols.mining.errors import BannedByOperator
from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Authorize, Submit
from protocols.sv1.results import Subscription
from protocols.sv2.layout import Message
from protocols.sv2.mining import NewExtendedMiningJob, SetExtranoncePrefix, SetNewPrevHash, SetTarget
from protocols.sv2.tlv import Tlv
from protocols.translation.errors import TranslationError
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.work import ChannelWork, Drafts, Work
from roles.stratum import lodger
from roles.stratum.errors import StratumError
from roles.stratum.handshake import Answer
from roles.stratum.lodger import Lodger, LodgingTerms
from roles.stratum.miner_identity import MinerIdentity
from roles.stratum.mining_client import MiningClient
from roles.stratum.submissions import LOST, Settle
from roles.stratum.upstream_channel import UPSTREAM_LOST, OpenTerms, UpstreamChannel

_log = logging.getLogger(__name__)

_TOO_SMALL = "min-extranonce-size-too-large"
_TOO_HARD = "max-target-out-of-range"


class Landlord(lodger.Landlord, Protocol):
    """Who knows all miners."""

    drafts: Drafts
    """What the jobs of their channels have the same of."""

    def too_small(self) -> None:
        """Upstream's extranonce does not suffice."""


class Miner(Lodger):
    """Owner of a session and of a channel; both channel and grant outlive the socket for a while."""

    def __init__(
        self,
        client: MiningClient,
        granted: Subscription,
        layout: Layout,
        terms: LodgingTerms,
        landlord: Landlord,
        *,
        port_class: str | None = None,
    ) -> None:
        super().__init__(granted, layout, terms, landlord, port_class=port_class)
        self.channel: UpstreamChannel | None = None
        self._client = client
        self._house = landlord
        self._work: ChannelWork | None = None
        self._is_fresh = False

    @property
    def has_place(self) -> bool:
        """Whether it has a channel."""
        return self.channel is not None and not self.channel.is_closed

    def _move_in(self, former: "Miner") -> None:
        self._work, self._is_fresh = former._work, former._is_fresh
        self.channel, former.channel = former.channel, None
        if self.channel is not None:
            self.channel.owner = self

    def _move_out(self) -> None:
        if self.channel is not None:
            self.channel.close("the miner left")

    # What the session asks

    def authorize(self, request: Authorize, answer: Answer) -> None:
        """The first name opens the channel, and is let in when that is open; later names share it."""
        identity = self._admit(request)
        if self.identity is not None and identity.key not in {None, self.identity.key}:
            raise Rejection(ErrorCode.UNAUTHORIZED, "Another key on the same connection")
        if self.identity is None and self.channel is not None:
            self._take_up(identity)
        if self.channel is not None and self.channel.is_open:
            answer(None)
            return
        self._answers.append(answer)
        if self.channel is not None:
            if not self.is_held:
                self._wait(self.terms.open_s, "no channel in time")
            return
        self._introduced(identity)
        self._ask()
        self._wait(self.terms.open_s, "no channel in time")

    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle) -> None:
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
        identity = self.identity or self._former
        assert identity is not None
        user, tlvs = identity.on_wire(extensions)
        self._expect()
        return OpenTerms(user, self._hash_rate(), self._max_target(), self.layout.needed, tlvs)

    def opened(self, tlvs: tuple[Tlv, ...]) -> None:
        """Fresh work follows; the miner keeps its extranonce1, whatever prefix is in front of it now."""
        del tlvs
        self._stop_waiting()
        channel = self.channel
        assert channel is not None
        if channel.extranonce_size < self.layout.needed:
            self._give_up_layout()
            return
        self._work = ChannelWork(
            self.layout,
            channel.extranonce_size,
            channel.extranonce_prefix,
            channel.target,
            self._house.drafts,
        )
        self._welcomed()

    def refused(self, code: str) -> None:
        """A miner that never had a channel is told and let go; one that had waits for better times, unless it
        has come to be turned away upstream.
        """
        if code == _TOO_SMALL:
            self._give_up_layout()
        elif code == _TOO_HARD and self._max_target() != MAX_TARGET:
            self._floor, self._is_spoilt = None, True
            if self.channel is not None:
                self.channel.close("asked for anew")
            self._ask()
        elif self._turned_away(f"Refused upstream: {code}") or code == BannedByOperator.code:
            self._dismiss(f"the channel was refused: {code}", code="channel-refused")

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
            elif isinstance(message, QuoteNotice):
                self.session.desk.tally.ehash += message.amount
        except TranslationError as error:
            _log.warning("unusable work", extra={"reason": str(error), "peer": self.session.peer})

    def lost(self, reason: str) -> None:
        """Keep the socket: the channel comes back, or the miner is released to its own fallback after the
        hold.
        """
        del reason
        self._work = None
        self._is_fresh = False
        given_up = self.channel is not None and self.channel.closed_for == UPSTREAM_LOST
        self._hold(0.0 if given_up else self.terms.hold_s)

    # The rest

    def _expect(self) -> None:
        super()._expect()
        if self.channel is not None:
            self.channel.update(self._hash_rate(), self._max_target())

    def _ask(self) -> None:
        try:
            self.channel = self._client.open(self)
        except StratumError as error:
            self._dismiss(str(error), code="no-channel")

    def _give_up_layout(self) -> None:
        self._house.too_small()
        self._dismiss("upstream grants too small an extranonce", code="extranonce-too-small")

    def _take_up(self, identity: MinerIdentity) -> None:
        """A miner that resumed its session names itself: its channel stays only if the name does."""
        if self._former == identity:
            self._named(identity)
            return
        assert self.channel is not None
        self.channel.close("another miner")
        self.channel, self._work, self._is_fresh = None, None, False
        self._floor, self._is_spoilt = None, False
        self.session.restart()
