"""The client's side of one SV1 connection with a pool: what to say, and what its lines mean.

Any order, any ids: answers are told by the id that we gave, and what a pool says unasked changes what is in
force. A line yields at most one event; whatever makes no sense is `Odd`, in a word, and changes nothing.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from protocols.sv1.errors import ErrorCode, MalformedError, Rejection
from protocols.sv1.messages import NULL, Call, Reply, dump, error_reply, parse, reply, request
from protocols.sv1.notifications import (
    Notify,
    read_notify,
    read_set_difficulty,
    read_set_extranonce,
    read_set_version_mask,
)
from protocols.sv1.plain_answer import read_plain_yes
from protocols.sv1.redirect import Redirect, read_reconnect
from protocols.sv1.results import Subscription, read_subscription, read_version_mask

__all__ = [
    "Answered",
    "Authorized",
    "Changed",
    "ClientSession",
    "Configured",
    "Event",
    "Job",
    "Judged",
    "Message",
    "Odd",
    "Redirected",
    "Subscribed",
]

GIVEN_UP_KEPT: Final = 4_096
"""Shares whose verdict nobody waits for any more, and is still told from an answer to nothing."""
_MESSAGE: Final = 256
_ID_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The pool has granted an extranonce, or has refused."""

    refusal: Rejection | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """The pool has answered about version rolling; `mask` of the session says what it grants."""


@dataclass(frozen=True, slots=True)
class Authorized:
    """The pool lets a name in, or refuses it."""

    user: str
    refusal: Rejection | None


@dataclass(frozen=True, slots=True)
class Job:
    """Work; what the session has in force holds for it."""

    notify: Notify


@dataclass(frozen=True, slots=True)
class Changed:
    """Difficulty, extranonce or mask are others from the next job on."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on the share that was sent under `id`; `is_late` where it was given up before."""

    id: int
    refusal: Rejection | None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Redirected:
    """The pool would have us connect anew."""

    where: Redirect


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence for people: printable, at most 256 characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The pool asked us something, or has answered what nothing hangs on; `line`, if any, is to be sent."""

    line: bytes = b""


@dataclass(frozen=True, slots=True)
class Odd:
    """A line that makes no sense; `what` is one of a few words."""

    what: str


Event = Subscribed | Configured | Authorized | Job | Changed | Judged | Redirected | Message | Answered | Odd
_Reader = Callable[[Reply], Event]


class ClientSession:
    """One connection. `agent` is who we say we are, `wanted` the version bits that we would roll.

    In force: `granted`, None before the subscription; `mask`, 0 for none; `difficulty`, None until the pool
    names one, which stands for 1.
    """

    def __init__(self, agent: str, wanted: int) -> None:
        self.granted: Subscription | None = None
        self.mask = 0
        self.difficulty: Fraction | None = None
        self._agent = agent
        self._wanted = wanted
        self._last = 0
        self._asked: dict[int, _Reader | None] = {}
        self._given_up: OrderedDict[int, None] = OrderedDict()

    # What we say

    def configure(self) -> bytes:
        """mining.configure (BIP310) for version rolling."""
        options = {"version-rolling.mask": f"{self._wanted:08x}", "version-rolling.min-bit-count": 2}
        return self._ask("mining.configure", [["version-rolling"], options], self._configured)

    def subscribe(self, session: str = "") -> bytes:
        """mining.subscribe, to go on with a former session where one is named."""
        params = [self._agent, session] if session else [self._agent]
        return self._ask("mining.subscribe", params, self._subscribed)

    def subscribe_extranonce(self) -> bytes:
        """mining.extranonce.subscribe: the pool may give us another extranonce; many know nothing of it."""
        return self._ask("mining.extranonce.subscribe", [], _answered)

    def suggest_difficulty(self, difficulty: float) -> bytes:
        """mining.suggest_difficulty; some answer, some do not."""
        number = int(difficulty) if difficulty == int(difficulty) else difficulty
        return self._ask("mining.suggest_difficulty", [number], _answered)

    def authorize(self, user: str, password: str) -> bytes:
        """mining.authorize for one of any number of names."""

        def authorized(answer: Reply) -> Event:
            return Authorized(user, _refusal(answer))

        return self._ask("mining.authorize", [user, password], authorized)

    def submit(
        self,
        user: str,
        job_id: str,
        *,
        extranonce2: bytes,
        ntime: int,
        nonce: int,
        version_bits: int | None,
    ) -> tuple[int, bytes]:
        """mining.submit, with a sixth parameter where version bits are given; returns id and line."""
        self._last = id = self._last + 1
        self._asked[id] = None
        bits = "" if version_bits is None else f',"{version_bits:08x}"'
        line = (
            f'{{"id":{id},"method":"mining.submit","params":[{_text(user)},{_text(job_id)},'
            f'"{extranonce2.hex()}","{ntime:08x}","{nonce:08x}"{bits}]}}\n'
        )
        return id, line.encode()

    def accepted(self, line: bytes) -> int | None:
        """The id of the share that a line accepts in the plainest way; None for every other line, which
        `receive` has to read.
        """
        id = read_plain_yes(line)
        if id is None or self._asked.get(id, _answered) is not None:
            return None
        del self._asked[id]
        return id

    def give_up(self, id: int) -> None:
        """Nobody waits for a share's verdict any more."""
        if id in self._asked:
            del self._asked[id]
            self._given_up[id] = None
            if len(self._given_up) > GIVEN_UP_KEPT:
                self._given_up.popitem(last=False)

    def _ask(self, method: str, params: list[Any], reader: _Reader | None) -> bytes:
        self._last += 1
        self._asked[self._last] = reader
        return request(self._last, method, params)

    # What the pool says

    def receive(self, line: bytes) -> Event:
        """Read one line; raises nothing."""
        try:
            message = parse(line)
        except MalformedError:
            return Odd("line")
        if isinstance(message, Reply):
            return self._replied(message)
        if isinstance(message, Call):
            handle = _CALLS.get(message.method)
            if handle is not None:
                return handle(self, message)
            if message.id == NULL:
                return Odd("method")
            unknown = Rejection(ErrorCode.UNKNOWN_METHOD, "Method not found")
            return Answered(error_reply(message.id, unknown))
        return Answered()

    def _replied(self, answer: Reply) -> Event:
        digits = answer.id.strip(b'"')
        if not digits.isdigit() or len(digits) > _ID_DIGITS:
            return Odd("answer")
        number = int(digits)
        if number in self._asked:
            reader = self._asked.pop(number)
            return Judged(number, _refusal(answer)) if reader is None else reader(answer)
        if number in self._given_up:
            del self._given_up[number]
            return Judged(number, _refusal(answer), is_late=True)
        return Odd("answer")

    def _configured(self, answer: Reply) -> Event:
        self.mask = read_version_mask(answer.result) & self._wanted
        return Configured()

    def _subscribed(self, answer: Reply) -> Event:
        if answer.error is not None:
            return Subscribed(answer.error)
        try:
            self.granted = read_subscription(answer.result)
        except MalformedError as error:
            return Subscribed(error)
        return Subscribed()

    def _notify(self, call: Call) -> Event:
        try:
            return Job(read_notify(call.params))
        except MalformedError:
            return Odd("notify")

    def _set_difficulty(self, call: Call) -> Event:
        try:
            self.difficulty = read_set_difficulty(call.params)
        except MalformedError:
            return Odd("difficulty")
        return Changed()

    def _set_extranonce(self, call: Call) -> Event:
        try:
            wanted = read_set_extranonce(call.params)
        except MalformedError:
            return Odd("extranonce")
        if self.granted is None:
            return Odd("extranonce")
        self.granted = Subscription(wanted.extranonce1, wanted.extranonce2_size, self.granted.session)
        return Changed()

    def _set_version_mask(self, call: Call) -> Event:
        try:
            self.mask = read_set_version_mask(call.params) & self._wanted
        except MalformedError:
            return Odd("mask")
        return Changed()

    def _reconnect(self, call: Call) -> Event:
        try:
            return Redirected(read_reconnect(call.params))
        except MalformedError:
            return Odd("redirect")

    def _show_message(self, call: Call) -> Event:
        text = call.params[0] if call.params else None
        if not isinstance(text, str):
            return Odd("message")
        return Message("".join(c if c.isprintable() else " " for c in text[:_MESSAGE]).strip())

    def _get_version(self, call: Call) -> Event:
        return Answered(reply(call.id, self._agent))

    def _ping(self, call: Call) -> Event:
        return Answered(reply(call.id, "pong"))


def _answered(_answer: Reply) -> Event:
    return Answered()


@lru_cache(maxsize=16_384)
def _text(value: str) -> str:
    """As JSON; names and jobs come again with each share."""
    return dump(value).decode()


def _refusal(answer: Reply) -> Rejection | None:
    """Why a pool says no; an answer that says neither is none."""
    if answer.error is not None:
        return answer.error
    return None if answer.result is True else Rejection(ErrorCode.OTHER, "No verdict in the answer")


_CALLS: Final[dict[str, Callable[[ClientSession, Call], Event]]] = {
    "mining.notify": ClientSession._notify,
    "mining.set_difficulty": ClientSession._set_difficulty,
    "mining.set_extranonce": ClientSession._set_extranonce,
    "mining.set_version_mask": ClientSession._set_version_mask,
    "client.reconnect": ClientSession._reconnect,
    "client.show_message": ClientSession._show_message,
    "client.get_version": ClientSession._get_version,
    "mining.ping": ClientSession._ping,
}
