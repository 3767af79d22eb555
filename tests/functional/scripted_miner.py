"""The one SV1 miner that plays every profile: it hashes for itself and objects to what firmware cannot bear.

Answers are matched by the order of requests, and each must carry its request's id as it was written.
"""

import asyncio
import hashlib
import json
import re
import struct
from collections import deque
from collections.abc import Awaitable
from typing import Any, Final

from tests.functional.miner_profiles import HOST, PASSWORD, SESSION, USER, Profile, Say
from tests.roles.translator.fake_miners import FakeMiner, Job
from tests.roles.translator.scripted_proxy import DIFFICULTY_ONE, PATIENCE, twice

SLOWER: Final = 2.0**-32
"""How fast the script hashes beside the device."""
HARDEST_WORK: Final = 1 << 22
COUNTED: Final = 1 << 242
"""A hash that counts at every difficulty that the script is given."""
HALF: Final = 1 << 255
"""Every second hash is above it."""
OVERTAKEN: Final = ([21, "Stale", None], [20, "No verdict from pool", None])
"""What is said of shares whose pool has been left meanwhile."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NUMBER: Final = re.compile(r"[0-9a-f]{8}")
_PLAIN: Final = struct.Struct("<I32s32sIII")


class ScriptedMiner(FakeMiner):
    """A profile at work; `faults` is what its firmware would have tripped over."""

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self.profile = profile
        self.user = profile.user or f"{profile.name}.one"
        self.password = profile.password
        self.faults: list[str] = []
        self.last_id = profile.first_id - 1
        self.session: str | None = None
        self.verdicts: list[dict[str, Any]] = []
        self.told: list[float] = []
        self._asked: list[tuple[str, Say, asyncio.Future[dict[str, Any]]]] = []
        self._works: set[str] = set()
        self._ids: deque[str] = deque(maxlen=profile.last_ids)
        self._shares = 0
        self._expects_notify = False

    # What it says

    async def start(self) -> None:
        """Introduces itself and waits for work."""
        if self.profile.answers != "one-line":
            self.listen()
        answers: list[asyncio.Future[dict[str, Any]]] = []
        for number, segment in enumerate(self.profile.segments):
            answers += [self.say(*segment)]
            if self.profile.answers == "one-line" and number == 0:
                await self.line()
                assert answers[0].done(), "the first line is not the answer"
                self.listen()
            elif self.profile.answers != "blind":
                await asyncio.wait_for(answers[-1], PATIENCE)
        for reply in await asyncio.wait_for(asyncio.gather(*answers), PATIENCE):
            assert reply["error"] is None, reply
        assert self.extranonce1
        if self.profile.after:
            self.say(*self.profile.after)
        await self.job()

    def say(self, *requests: Say) -> asyncio.Future[dict[str, Any]]:
        """Writes requests in one segment; the future is the last answer's."""
        last: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.write(b"".join(self._line(request) for request in requests))
        if self._asked:
            last = self._asked[-1][2]
        else:
            last.set_result({"result": True, "error": None})
        return last

    def _line(self, request: Say) -> bytes:
        self.last_id += 1
        is_share = request.method == "mining.submit"
        id = self.profile.submit_id if is_share else None
        id = id or self.profile.id_form.format(self.last_id)
        if request.is_answered:
            self._asked.append((id, request, asyncio.get_running_loop().create_future()))
        body = {"method": request.method, "params": [self._value(p, request) for p in request.params]}
        inner = json.dumps(body | dict(request.keys))[1:-1]
        text = f'{{{inner}, "id": {id}}}' if self.profile.is_id_last else f'{{"id": {id}, {inner}}}'
        return text.encode() + self.profile.line_end

    def _value(self, value: Any, request: Say) -> Any:
        if request.is_scaled:
            return value * SLOWER
        known = {USER: self.user, PASSWORD: self.password, SESSION: self.session, HOST: "127.0.0.1"}
        return known[value] if isinstance(value, str) and value in known else value

    # What it hears

    def _take(self, raw: bytes) -> None:
        message = json.loads(raw)
        self._object(len(raw) <= self.profile.line_bytes, f"a line of {len(raw)} bytes")
        method = message.get("method")
        if method is not None:
            self._object(bool(self.extranonce1), f"{method} before the subscription's answer")
            if method != "mining.set_version_mask":
                ordered = not self._expects_notify or method == "mining.notify"
                self._object(ordered, "a difficulty without work behind it")
                self._expects_notify = method == "mining.set_difficulty"
        if method == "mining.notify":
            self._look_at(message["params"])
            if message["params"][0] in self._ids:
                return
            self._ids.append(message["params"][0])
        elif method == "mining.set_difficulty":
            told = message["params"][0]
            self.told.append(told)
            whole = self.profile.has_fractions or (isinstance(told, int) and told >= 1)
            self._object(told > 0 and whole, f"difficulty {told!r}")
        super()._take(raw)

    def _look_at(self, params: list[Any]) -> None:
        job_id, previous, coinbase1, coinbase2, branches, *numbers, clean = params
        if clean is True:
            self._ids.clear()
        self._object(isinstance(clean, bool) and len(params) == 9, "a notify of another form")
        self._object(isinstance(job_id, str) and 0 < len(job_id) <= 16, f"job id {job_id!r}")
        self._object(job_id not in self._ids, f"job id {job_id} again")
        self._object(all(_HASH.fullmatch(each) for each in (previous, *branches)), "a hash that is none")
        self._object(all(_NUMBER.fullmatch(each) for each in numbers), "a number of another length")
        self._object(len(branches) <= 32, f"{len(branches)} branches")
        size = len(coinbase1 + coinbase2) // 2 + len(self.extranonce1) + self.extranonce2_size
        self._object(size <= self.profile.coinbase_bytes, f"a coinbase of {size} bytes")
        self._object(not int(numbers[0], 16) & self.mask, f"version {numbers[0]} has bits of the mask")
        work = json.dumps(params[1:8])
        self._object(work not in self._works, "the same work again")
        self._works.add(work)

    def heard(self, reply: dict[str, Any]) -> None:
        if not self._asked:
            self.faults.append(f"an answer to nothing: {reply}")
            return
        raw = self.raw[-1].decode()
        # A name before the subscription is answered after it; all else in order.
        of_id = (each for each in self._asked if raw.startswith(f'{{"id":{self._as_written(each[0])},'))
        found = next(of_id, None)
        self._object(found is not None, f"an answer under another id: {raw}")
        self._object(found is self._asked[0] or not self.extranonce1, f"an answer out of order: {raw}")
        asked = found or self._asked[0]
        self._asked.remove(asked)
        request, future = asked[1:]
        self._object({"id", "result", "error"} == set(reply), f"an answer without its parts: {raw}")
        if reply["error"] is not None:
            code, text, extra = reply["error"]
            self._object(reply["result"] is None and extra is None, f"an error of another form: {raw}")
            self._object(type(code) is int and 0 < len(text) <= 64, f"an error of another form: {raw}")
        elif request.method == "mining.subscribe":
            self.subscribed(reply)
            self.session = reply["result"][0][1][1]
            suits = self.extranonce2_size in self.profile.extranonce2_sizes
            self._object(suits, f"an extranonce2 of {self.extranonce2_size}")
        elif request.method == "mining.configure":
            keys = {"version-rolling", "version-rolling.mask"}
            self._object(set(reply["result"]) == keys, f"unexpected keys: {raw}")
            self.mask = int(reply["result"]["version-rolling.mask"], 16)
        if request.method == "mining.submit":
            self.verdicts.append(reply)
        if not future.done():
            future.set_result(reply)

    @staticmethod
    def _as_written(id: str) -> str:
        return json.dumps(json.loads(id)) if id.startswith('"') else id

    def _object(self, is_fine: bool, fault: str) -> None:
        if not is_fine:
            self.faults.append(fault)

    # Its work

    def limit(self, job: Job) -> int:
        """The hashes that it sends: those of the job's difficulty.

        A whole difficulty is more than the script can mine; there it sends what the pool takes anyway, until
        that reckons by the difficulty that it told and asks for more.
        """
        return int(DIFFICULTY_ONE / job.difficulty) if self.profile.has_fractions else COUNTED

    def search(self, job: Job, *, good: bool = True) -> list[Any]:
        """Parameters of a share on a job that meets its difficulty, or of one that misses any."""
        profile = self.profile
        rolled = profile.rolls[self._shares % len(profile.rolls)] & job.mask
        size = self.extranonce2_size
        number = {"fixed": 1, "restarts": 0, "goes-on": self._shares}[profile.extranonce2]
        # The device goes on behind its last nonce; the script looks elsewhere, so as not to find it again.
        start = 0 if profile.extranonce2 == "goes-on" else self._shares * HARDEST_WORK % (1 << 32)
        self._shares += 1
        extranonce2 = number.to_bytes(size, "big")
        _, previous, coinbase1, coinbase2, branches, version, bits, ntime, _ = job.params
        root = twice(bytes.fromhex(coinbase1) + self.extranonce1 + extranonce2 + bytes.fromhex(coinbase2))
        for branch in branches:
            root = twice(root + bytes.fromhex(branch))
        words = bytes.fromhex(previous)
        tip = b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4))
        time = int(ntime, 16) + profile.ntime_ahead * (self._shares % 3)
        base = int(version, 16)
        head = _PLAIN.pack(base | rolled, tip, root, time, int(bits, 16), 0)[:76]
        limit = self.limit(job) if good else HALF
        nonce = self._nonce(head, start, limit, good=good)
        return self._share(job, extranonce2, time, nonce, base, rolled)

    @staticmethod
    def _nonce(head: bytes, start: int, limit: int, *, good: bool) -> int:
        sha256 = hashlib.sha256
        begun = sha256(head)
        for nonce in range(start, start + HARDEST_WORK):
            inner = begun.copy()
            inner.update(nonce.to_bytes(4, "little"))
            found = int.from_bytes(sha256(inner.digest()).digest(), "little")
            if (found <= limit) is good:
                return nonce
        raise AssertionError(f"no share found for a limit of {limit:x}")

    def _share(
        self, job: Job, extranonce2: bytes, time: int, nonce: int, version: int, rolled: int
    ) -> list[Any]:
        name = self.user[: self.profile.name_bytes]
        fields = [name, job.id, self._hex(extranonce2.hex()), self._number(time), self._number(nonce)]
        match self.profile.bits:
            case "rolled":
                fields.append(self._number(rolled))
            case "version":
                fields.append(self._number(version | rolled))
            case "empty":
                fields.append("")
            case "short-zero":
                fields.append("0")
            case "missing":
                pass
        return fields

    def _hex(self, text: str) -> str:
        form = self.profile.number_form
        return text.upper() if form == "upper" else f"0x{text}" if form == "prefixed" else text

    def _number(self, number: int) -> Any:
        match self.profile.number_form:
            case "numbers":
                return number
            case "short":
                return f"{number:x}"
            case _:
                return self._hex(f"{number:08x}")

    async def moved_on(self, job: Job) -> None:
        """Waits until there is another job than this, which may be good as well."""
        await self.until(lambda: self.jobs and self.jobs[-1] is not job)

    async def mines_on(self, job: Job) -> None:
        """Waits until a share of newer work than this is accepted.

        Work of a pool that has just been left may still come. That it is stale is the truth then, and while
        the miner's channel is not open at the next pool, that nobody will judge it.
        """
        accepted = False
        while not accepted:
            await self.moved_on(job)
            job = self.jobs[-1]
            verdict = await self.hand_in(self.search(job))
            accepted = verdict["error"] is None
            assert accepted or verdict["error"] in OVERTAKEN, (self.profile.name, verdict)

    def hand_in(self, params: list[Any]) -> Awaitable[dict[str, Any]]:
        """Submits a share; what is awaited is the answer."""
        return asyncio.wait_for(self.say(Say("mining.submit", tuple(params))), PATIENCE)

    async def dig(self, shares: int = 1, *, at_once: bool = False) -> None:
        """Mines shares on the newest work, or on the newest few in turn; each must be accepted."""
        waiting: list[tuple[list[Any], Awaitable[dict[str, Any]]]] = []
        for number in range(shares):
            await self.job()
            pipeline = self.jobs[-self.profile.works_on :]
            params = self.search(pipeline[number % len(pipeline)])
            waiting.append((params, self.hand_in(params)))
            if not at_once:
                await self._accepted(waiting)
        await self._accepted(waiting)
        if self.profile.submits_twice and not at_once:
            assert (await self.hand_in(params))["error"] == [22, "Duplicate share", None]

    async def _accepted(self, waiting: list[tuple[list[Any], Awaitable[dict[str, Any]]]]) -> None:
        for params, answer in waiting:
            verdict = await answer
            assert verdict["error"] is None, (self.profile.name, params, verdict)
            assert verdict["result"] is True, verdict
        waiting.clear()
