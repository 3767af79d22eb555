"""One wallet's websocket (NUT-17): its subscriptions, and what it is still to be told.

What waits for a slow reader is not kept but read again when its turn comes: of each object at most the
present state waits. The loop that reads the wallet's messages answers each before it reads the next.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from protocols.cashu import subscription
from protocols.cashu.errors import RpcError
from protocols.cashu.subscription import PROOF_STATE, Subscribe, Unsubscribe
from roles.mint.notice_board import NoticeBoard, State, Subject
from shared_config.sockets import SocketLimits

FAULT_LIMIT: Final = 100
"""Messages that a wallet may get wrong before it is cut off."""

Pace = Callable[[int], float]
"""Counts so many objects, and gives the seconds to wait before they are served."""


class SocketSession:
    """Serves a socket until it ends; `room` is how many more objects may be listened to by all, and `told`
    counts notices by kind.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        board: NoticeBoard,
        limits: SocketLimits,
        *,
        pace: Pace,
        room: Callable[[], int],
        told: Callable[[str], None],
    ) -> None:
        self._socket = socket
        self._board = board
        self._limits = limits
        self._pace = pace
        self._room = room
        self._told = told
        self._subscriptions: dict[str, tuple[Subject, ...]] = {}
        self._listening: dict[Subject, dict[str, State | None]] = {}
        self._waiting: dict[Subject, State] = {}
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._idle_since: float | None = time.monotonic()
        self._gives_way = False

    @property
    def idle_since(self) -> float | None:
        """Since when it has had no subscription, on the monotonic clock; None if it has or is ending."""
        return None if self._gives_way else self._idle_since

    @property
    def objects(self) -> int:
        """How many objects this socket listens to."""
        return len(self._listening)

    def hear(self, subject: Subject, state: State) -> None:
        """See `Listener`."""
        self._waiting[subject] = state
        self._wake.set()

    def give_way(self) -> None:
        """End soon: somebody else needs the place."""
        self._gives_way = True
        self._wake.set()

    async def serve(self) -> str:
        """Answer and notify until the socket ends; gives the reason.

        Raises TimeoutError for a wallet that does not read, and ConnectionResetError for one that is gone.
        """
        telling = asyncio.create_task(self._tell())
        reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait({telling, reading}, return_when=asyncio.FIRST_COMPLETED)
            return telling.result() if telling.done() else reading.result()
        finally:
            for task in (telling, reading):
                task.cancel()
            await asyncio.gather(telling, reading, return_exceptions=True)
            self._board.leave(self._listening, self)

    async def _read(self) -> str:
        faults = 0
        while True:
            try:
                async with asyncio.timeout(None if self._subscriptions else self._limits.idle_s):
                    message = await self._socket.receive()
            except TimeoutError:
                return "idle"
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                return "closed" if message.type is not WSMsgType.ERROR else "broken"
            try:
                await self._answer(message.data if message.type is WSMsgType.TEXT else "")
            except RpcError as error:
                faults += 1
                await self._send(subscription.refused(error))
                if faults >= FAULT_LIMIT:
                    await self._socket.close(code=WSCloseCode.POLICY_VIOLATION)
                    return "faults"

    async def _answer(self, text: str) -> None:
        await asyncio.sleep(self._pace(1))
        request = subscription.parse(text, max_filters=self._limits.filters)
        if isinstance(request, Unsubscribe):
            self._unsubscribe(request)
            await self._send(subscription.accepted(request))
        else:
            await asyncio.sleep(self._pace(len(request.filters)))
            self._check(request)
            # Answered first: a notice must not overtake the answer.
            await self._send(subscription.accepted(request))
            self._subscribe(request)

    def _check(self, request: Subscribe) -> None:
        if request.kind not in self._board.kinds:
            known = ", ".join(self._board.kinds)
            raise _refusal(request, f"the kind is not offered, only {known}", subscription.INVALID_PARAMS)
        if request.sub_id in self._subscriptions:
            raise _refusal(request, "the subId is in use", subscription.INVALID_PARAMS)
        if len(self._subscriptions) >= self._limits.subscriptions:
            raise _refusal(request, f"at most {self._limits.subscriptions} subscriptions a socket")
        if self.objects + len(request.filters) > self._limits.objects:
            raise _refusal(request, f"at most {self._limits.objects} objects a socket")
        if len(request.filters) > self._room():
            raise _refusal(request, "the mint has no room for more subscriptions at the moment")

    def _subscribe(self, request: Subscribe) -> None:
        subjects = tuple(Subject(request.kind, name) for name in request.filters)
        self._subscriptions[request.sub_id] = subjects
        self._idle_since = None
        for subject in subjects:
            self._listening.setdefault(subject, {})[request.sub_id] = None
        self._board.listen(subjects, self)

    def _unsubscribe(self, request: Unsubscribe) -> None:
        subjects = self._subscriptions.pop(request.sub_id, None)
        if subjects is None:
            raise _refusal(request, "there is no such subscription", subscription.INVALID_PARAMS)
        left = []
        for subject in subjects:
            told = self._listening[subject]
            del told[request.sub_id]
            if not told:
                del self._listening[subject]
                left.append(subject)
        self._board.leave(left, self)
        if not self._subscriptions:
            self._idle_since = time.monotonic()

    async def _tell(self) -> str:
        while True:
            await self._wake.wait()
            if self._gives_way:
                return "gave-way"
            self._wake.clear()
            waiting, self._waiting = self._waiting, {}
            for text in self._notices(waiting.items()):
                await self._send(text)

    def _notices(self, states: Iterable[tuple[Subject, State]]) -> Iterator[str]:
        """What the wallet has not been told yet; the first step of all objects before the second of any."""
        steps = []
        for subject, state in states:
            told = self._listening.get(subject, {})
            for sub_id, before in told.items():
                if state != before:
                    told[sub_id] = state
                    path = steps_between(subject.kind, before, state)
                    steps.append([(subject.kind, sub_id, step) for step in path])
        for round_ in zip_longest(*steps):
            for kind, sub_id, state in filter(None, round_):
                self._told(kind)
                yield subscription.notice(sub_id, state)

    async def _send(self, text: str) -> None:
        async with self._sending, asyncio.timeout(self._limits.send_s):
            await self._socket.send_str(text)


def steps_between(kind: str, before: State | None, now: State) -> list[State]:
    """What a wallet is told when an object that it knew as `before` is `now` otherwise.

    A proof is pending before it is spent (NUT-17), though a swap holds it for no longer than its commit.
    """
    spent = kind == PROOF_STATE and now["state"] == "SPENT"
    if spent and before is not None and before["state"] == "UNSPENT":
        return [{**now, "state": "PENDING", "witness": None}, now]
    return [now]


def _refusal(request: Subscribe | Unsubscribe, text: str, code: int = subscription.REFUSED) -> RpcError:
    return RpcError(code, text, request.request_id)
