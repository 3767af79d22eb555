"""How an SV1 miner introduces itself: configure, subscribe, authorize and suggestions, in any order."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Protocol

from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.messages import Call, error_reply, reply
from protocols.sv1.requests import (
    Authorize,
    read_authorize,
    read_configure,
    read_subscribe,
    read_suggest_difficulty,
    read_suggest_target,
)
from protocols.sv1.results import Subscription, subscription
from roles.stratum.cost import CostAccount
from roles.stratum.firmware import classify
from roles.stratum.replies import OrderedReplies, Place

__all__ = ["Gatekeeper", "Handshake"]

EARLY_S = 1.0
"""How long a name that comes before the subscription waits for it."""
EARLY_LIMIT = 8
NAME_SIZE = 255

Answer = Callable[[Rejection | None], None]


class Gatekeeper(Protocol):
    """Decides who may mine."""

    def authorize(self, request: Authorize, answer: Answer) -> None:
        """Call `answer` once, now or later: None lets the miner in. Raises Rejection to refuse at once."""

    def suggested(self, difficulty: Fraction) -> None:
        """The miner would rather have shares at least so hard."""

    def welcome(self, session: str) -> Subscription | None:
        """The miner subscribes for the first time: what it is granted instead of what it was to be, None for
        nothing else.

        `session` is the one that it would go on with, empty where it names none or has named itself before.
        Raises Rejection to grant nothing.
        """


class Handshake:
    """What one miner has said of itself, and the answers to it.

    `ready` is called once, when it is both subscribed and authorized. `mask_for` tells which of the version
    bits asked for the miner may roll now, `workers` how many names it may have, `tell` shows its person a
    sentence. `port_class`: the class of
    firmware that its port is for, if any.
    """

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        replies: OrderedReplies,
        granted: Subscription,
        *,
        mask_for: Callable[[int], int],
        ready: Callable[[], None],
        cost: CostAccount,
        tell: Callable[[str], None],
        workers: int,
        port_class: str | None = None,
    ) -> None:
        self.user_agent = ""
        self.firmware = classify("", port_class)
        self.info: dict[str, str] = {}
        self.is_subscribed = False
        self.is_authorized = False
        self.has_named_itself = False
        self.mask_asked: int | None = None
        self.mask = 0
        self.may_suggest = True
        self._gatekeeper = gatekeeper
        self._replies = replies
        self.granted = granted
        self._mask_for = mask_for
        self._ready = ready
        self._cost = cost
        self._tell = tell
        self._has_told = False
        self._workers = workers
        self._port_class = port_class
        self._names: set[str] = set()
        self._takes_names = False
        self._early: list[Call] = []
        self._impatience: asyncio.TimerHandle | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the miner may be given work."""
        return self.is_subscribed and self.is_authorized

    def refusal(self) -> Rejection | None:
        """Why the miner may not submit shares, None if it may."""
        if not self.is_subscribed:
            return Rejection(ErrorCode.NOT_SUBSCRIBED, "Not subscribed")
        if not self.is_authorized:
            return Rejection(ErrorCode.UNAUTHORIZED, "Unauthorized worker")
        return None

    def configure(self, call: Call) -> None:
        """mining.configure: answers only what was asked for, unknown extensions with false."""
        asked = read_configure(call.params)
        self.info.update(asked.info)
        result: dict[str, object] = {}
        for name in asked.extensions:
            result[name] = name in {"minimum-difficulty", "subscribe-extranonce", "info"}
            if name == "version-rolling":
                self.mask_asked = asked.mask
                self.mask = self._mask_for(asked.mask)
                result[name] = self.mask != 0
                if self.mask:
                    result["version-rolling.mask"] = f"{self.mask:08x}"
        if "minimum-difficulty" in asked.extensions and asked.minimum_difficulty is not None:
            self._suggest(asked.minimum_difficulty)
        self._replies.answer(call.id, reply(call.id, result))

    def subscribe(self, call: Call) -> None:
        """mining.subscribe: the same values however often it is asked."""
        asked = read_subscribe(call.params)
        if not self.is_subscribed:
            self.user_agent = asked.user_agent
            self.firmware = classify(asked.user_agent, self._port_class)
            try:
                granted = self._gatekeeper.welcome("" if self._takes_names else asked.session)
            except Rejection as error:
                self._refuse(self._replies.take(call.id), error)
                return
            self.granted = granted or self.granted
        self._replies.answer(call.id, reply(call.id, subscription(self.granted)))
        was_subscribed, self.is_subscribed = self.is_subscribed, True
        self._take_early()
        if not was_subscribed and self.is_authorized:
            self._ready()

    def authorize(self, call: Call) -> None:
        """mining.authorize; before the subscription it waits for it, for a second at most."""
        self.has_named_itself = True
        if self._takes_names:
            self._authorize(call)
        elif len(self._early) < EARLY_LIMIT:
            self._early.append(call)
            if self._impatience is None:
                self._impatience = asyncio.get_running_loop().call_later(EARLY_S, self._take_early)
        else:
            self._refuse(self._replies.take(call.id), Rejection(ErrorCode.NOT_SUBSCRIBED, "Not subscribed"))

    def suggest_difficulty(self, call: Call) -> None:
        """mining.suggest_difficulty: no answer, since firmware may take one for a share's."""
        self._suggest(read_suggest_difficulty(call.params))

    def suggest_target(self, call: Call) -> None:
        """mining.suggest_target, likewise."""
        self._suggest(read_suggest_target(call.params))

    def end(self) -> None:
        """The connection is gone."""
        if self._impatience is not None:
            self._impatience.cancel()

    def _suggest(self, difficulty: Fraction | None) -> None:
        if self.may_suggest and difficulty is not None and self.firmware.takes_suggestions:
            self.may_suggest = False
            self._gatekeeper.suggested(difficulty)

    def _take_early(self) -> None:
        self._takes_names = True
        early, self._early = self._early, []
        for call in early:
            self._authorize(call)

    def _authorize(self, call: Call) -> None:
        place = self._replies.take(call.id)
        try:
            request = read_authorize(call.params)
            self._count(request.user)
            self._gatekeeper.authorize(request, partial(self._authorized, place))
        except Rejection as error:
            self._refuse(place, error)

    def _refuse(self, place: Place, error: Rejection) -> None:
        self._cost.refused()
        self._replies.fill(place, error_reply(place.id, error))
        if self.is_subscribed and error.code == ErrorCode.UNAUTHORIZED and not self._has_told:
            # Some firmware shows the answer to no name, so that its person would look for another fault.
            self._has_told = True
            self._tell(f"This name may not mine: {error.text}")

    def _count(self, name: str) -> None:
        if len(name) > NAME_SIZE:
            raise Rejection(ErrorCode.UNAUTHORIZED, "User name too long")
        if name not in self._names and len(self._names) >= self._workers:
            raise Rejection(ErrorCode.UNAUTHORIZED, "Too many workers on one connection")
        self._names.add(name)

    def _authorized(self, place: Place, refusal: Rejection | None) -> None:
        if refusal is not None:
            self._refuse(place, refusal)
            return
        self._replies.fill(place, reply(place.id, True))
        was_complete = self.is_complete
        self.is_authorized = True
        if self.is_complete and not was_complete:
            self._ready()
