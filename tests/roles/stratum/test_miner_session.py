"""The session and its desk alone: a stand-in for the socket, and an owner that lets everyone in."""

import asyncio
import json
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv1.line import Overlong
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Authorize, Submit
from protocols.sv1.results import Subscription
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.work import Draft, Tip, Work
from roles.runtime.errors import ConnectionLost
from roles.stratum.cost import CostTerms
from roles.stratum.handshake import Answer
from roles.stratum.miner_session import MinerSession, SessionLimits
from roles.stratum.sent_jobs import SentJobs
from roles.stratum.submissions import ACCEPTED, Settle
from roles.stratum.tally import Tally

NOW = 1_700_000_000
EASY = (1 << 256) - 1


class Socket:
    """Hands out the lines given, then ends; keeps what is sent."""

    peer = "test"
    is_open = True
    is_within_line = False

    def __init__(self, lines: list[bytes | Overlong]) -> None:
        self.batches = [lines]
        self.sent: list[dict[str, Any]] = []

    async def receive_batch(self) -> list[bytes | Overlong]:
        if not self.batches:
            raise ConnectionLost("end")
        return self.batches.pop()

    async def hand_over(self, take: Callable[[bytes | Overlong], None]) -> None:
        while True:
            for line in await self.receive_batch():
                take(line)

    def hold(self) -> None:
        pass

    def release(self) -> None:
        pass

    def send(self, *lines: bytes) -> None:
        for line in lines:
            assert line.endswith(b"\n")
            self.sent.append(json.loads(line))

    def close(self, text: str, *, code: str) -> None:
        self.is_open = False


class Owner:
    """Lets everyone in and accepts every share."""

    def __init__(self) -> None:
        self.forwarded: list[JudgedShare] = []

    def authorize(self, request: Authorize, answer: Answer) -> None:
        answer(None)

    def suggested(self, difficulty: Fraction) -> None:
        assert difficulty > 0

    def welcome(self, session: str) -> Subscription | None:
        return None

    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle) -> None:
        self.forwarded.append(share)
        settle(ACCEPTED)


def work(target: int = EASY) -> Work:
    tip = Tip(b"\x07" * 32, NOW - 100, 0x207FFFFF)
    draft = Draft(0x20000000, (), b"\x01" * 60, b"\x02" * 40)
    return Work(3, draft.on(tip), NOW - 100, b"", b"", target)


def session(socket: Socket, owner: Owner) -> MinerSession:
    connection: Any = socket
    return MinerSession(
        connection,
        owner,
        granted=Subscription(b"\1\2\3\4", 8, "s"),
        layout=Layout(8),
        limits=SessionLimits(cost=CostTerms(soft_s=1e8, hard_s=1e9)),
        totals=Tally(),
        clock=lambda: float(NOW),
    )


def run(lines: list[bytes | Overlong]) -> tuple[MinerSession, Socket, Owner]:
    async def serve() -> tuple[MinerSession, Socket, Owner]:
        socket, owner = Socket(lines), Owner()
        served = session(socket, owner)
        served.give(work(), clean=True)
        with pytest.raises(ConnectionLost):
            await served.run()
        return served, socket, owner

    return asyncio.run(serve())


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("1")
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=4), scalars, max_size=2)
methods = st.sampled_from(
    [
        "mining.configure",
        "mining.subscribe",
        "mining.authorize",
        "mining.submit",
        "mining.suggest_difficulty",
        "mining.suggest_difficulty(5",
        "mining.suggest_target",
        "mining.extranonce.subscribe",
        "mining.ping",
        "client.get_version",
        "nonsense",
    ]
)
requests = st.fixed_dictionaries(
    {"method": methods, "params": st.lists(values, max_size=6)}, optional={"id": values}
)
lines = st.lists(
    st.binary(min_size=1, max_size=40)
    | st.just(Overlong())
    | requests.map(lambda request: json.dumps(request).encode()),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(lines)
def test_no_line_ends_a_session_but_by_its_own_rules(script: list[bytes | Overlong]) -> None:
    served, socket, owner = run(script)
    notices = [line["method"] for line in socket.sent if "method" in line]
    for name, following in pairwise([*notices, "end"]):
        assert name == "mining.notify" or following in {"mining.notify", "mining.set_difficulty"}
    assert served.desk.tally.accepted == len(owner.forwarded)
    assert served.desk.pending == 0
    assert bool(notices) is served.handshake.is_complete


def submit(id: int, nonce: int) -> bytes:
    params = ["a", "1", "00" * 8, f"{NOW:08x}", f"{nonce:08x}"]
    return json.dumps({"id": id, "method": "mining.submit", "params": params}).encode()


START: list[bytes | Overlong] = [
    b'{"id":1,"method":"mining.subscribe","params":[]}',
    b'{"id":2,"method":"mining.authorize","params":["a","x"]}',
]


def test_a_share_for_the_miners_own_target_is_answered_here_and_is_not_sent_up() -> None:
    async def serve() -> tuple[MinerSession, Socket, Owner]:
        socket, owner = Socket([*START, submit(3, 1), submit(4, 1)]), Owner()
        served = session(socket, owner)
        served.give(work(target=0xFFFF << 200), clean=True)
        jobs: Any = _Easier(served.desk.jobs)
        served.desk.jobs = jobs
        with pytest.raises(ConnectionLost):
            await served.run()
        return served, socket, owner

    served, socket, owner = asyncio.run(serve())
    replies = {line["id"]: line for line in socket.sent if line["id"]}
    assert replies[3]["result"] is True
    assert replies[4]["error"][0] == 22
    assert owner.forwarded == []
    assert (served.desk.tally.local, served.desk.tally.accepted) == (1, 0)


class _Easier:
    """Jobs for which the miner was told to send every hash."""

    def __init__(self, jobs: SentJobs) -> None:
        self.add = lambda work, miner_target, **told: jobs.add(work, EASY, **told)
        self.find = jobs.find
        self.present = jobs.present
        self.take_new = jobs.take_new
        self.remember = jobs.remember


def test_a_second_share_is_no_duplicate_and_both_are_sent_up() -> None:
    _, socket, owner = run([*START, submit(3, 1), submit(4, 2)])
    assert [line["result"] for line in socket.sent if line["id"] in {3, 4}] == [True, True]
    assert len({share.share_hash for share in owner.forwarded}) == 2
