"""What reads Stratum V1 and turns it into Stratum V2: lines, calls, replies, shares, jobs."""

from fractions import Fraction
from typing import Any, Final, NamedTuple

from protocols.sv1.client import Answered, ClientSession, Judged, Redirected
from protocols.sv1.client import Job as ToDo
from protocols.sv1.errors import MalformedError, Rejection, WrongProtocolError
from protocols.sv1.line import LineSplitter, Overlong
from protocols.sv1.messages import Call, Empty, Reply, error_reply, parse, reply
from protocols.sv1.notifications import (
    Notify,
    notify,
    read_notify,
    read_set_difficulty,
    read_set_extranonce,
    read_set_version_mask,
    set_extranonce,
)
from protocols.sv1.redirect import is_same_domain
from protocols.sv1.requests import (
    read_authorize,
    read_configure,
    read_submit,
    read_subscribe,
    read_suggest_difficulty,
    read_suggest_target,
)
from protocols.sv1.results import Subscription, read_subscription, read_version_mask
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash
from protocols.translation.errors import TranslationError
from protocols.translation.extranonce import Layout
from protocols.translation.share import judge
from protocols.translation.upstream_job import UpstreamJobs
from protocols.translation.verdict import code_of, rejection
from protocols.translation.version_mask import SV1_MASK
from protocols.translation.work import ChannelWork, Work
from tests.fuzz.campaign import Parser
from tests.fuzz.json_mutation import JsonSamples
from tests.fuzz.mutation import Mutator

NOW: Final = 1_800_000_000
LIMIT: Final = 512
"""Bytes of a line here: small, so that many are too long."""
COINBASE: Final = (
    bytes.fromhex("02000000010000000000000000000000000000000000000000000000000000000000000000ffffffff2252"),
    bytes.fromhex("feffffff0100f2052a01000000160014ebe1b7dcc293ccaa0ee743a86f89df8258c208fc00000000"),
)
JOB: Final = Notify(
    "1f", b"\x07" * 32, *COINBASE, (b"\x01" * 32, b"\x02" * 32), 0x20000000, 0x207FFFFF, NOW, True
)

CALLS: Final = (
    b"""{"id":1,"method":"mining.configure","params":[["version-rolling","minimum-difficulty"],
        {"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2,"minimum-difficulty.value":512,
        "info.hw-version":"S9i"}]}""",
    b'{"id":2,"method":"mining.subscribe","params":["bitaxe/BM1370/v2.4.5","deadbeef","host",3333]}',
    b'{"id":3,"method":"mining.authorize","params":["bc1qexample.worker","x,d=1024"]}',
    b'{"id":4,"method":"mining.submit","params":["worker","1f","0000000000000001","6b49d200","b2957c02","00c00000"]}',
    b'{"params":["worker","1f","0001","504e86ed","b2957c02"],"id":"five","method":"mining.submit"}',
    b'{"id":6,"method":"mining.suggest_difficulty","params":[1024.5]}',
    b'{"id":7,"method":"mining.suggest_target","params":["' + b"00" * 4 + b"ff" * 28 + b'"]}',
    b'{"id":18446744073709551616,"method":"mining.extranonce.subscribe","params":[]}',
    b'{"id":1.50,"method":"mining.ping","params":[]}',
)
ANSWERS: Final = (
    b'{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"18000000"},"error":null}',
    b'{"id":2,"result":[[["mining.set_difficulty","b4b6"],["mining.notify","ae68"]],"08000002",4],"error":null}',
    b'{"id":3,"result":true,"error":null}',
    b'{"id":4,"result":null,"error":[21,"Job not found",null]}',
    b'{"id":5,"result":false,"error":{"code":-3,"message":"no"},"reject-reason":"stale"}',
    notify(JOB).rstrip(),
    b'{"id":null,"method":"mining.set_difficulty","params":[0.001]}',
    b'{"id":null,"method":"mining.set_version_mask","params":["1fffe000"]}',
    set_extranonce(b"\x08\0\0\2", 4).rstrip(),
    b'{"id":null,"method":"client.reconnect","params":["other.example",3333,5]}',
    b"{}",
)
CALL_SAMPLES: Final = JsonSamples(CALLS)
ANSWER_SAMPLES: Final = JsonSamples(ANSWERS)
POOL_SAMPLES: Final = JsonSamples(
    (
        *ANSWERS,
        b'{"id":4,"result":null,"error":"Stale"}',
        b'{"id":"5","result":true,"error":null}',
        b'{"id":9,"method":"client.get_version","params":[]}',
        b'{"id":9,"method":"mining.ping","params":[]}',
        b'{"id":null,"method":"client.show_message","params":["hello"]}',
    )
)
PREFACES: Final = (
    b"",
    b"",
    b"",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\0",
    b"PROXY TCP4 ",
    b"\r\n \n",
    b"\n" * 90,
)


def make_lines(mutator: Mutator) -> list[bytes]:
    lines = [mutator.pick(CALLS) for _ in range(mutator.below(6))]
    if mutator.happens(1 / 8):
        lines.insert(mutator.below(len(lines) + 1), b"x" * (LIMIT - 2 + mutator.below(5)))
    data = (
        mutator.pick(PREFACES)
        + mutator.pick((b"\n", b"\r\n", b" \n\n")).join(lines)
        + b"\n" * mutator.below(2)
    )
    return mutator.segments(mutator.damage([data], (b"\n", b"\r", b"\0")) if mutator.happens(2 / 3) else data)


def read_lines(pieces: list[bytes]) -> None:
    """However the bytes are cut, the lines are the same."""
    splitter, events = LineSplitter(LIMIT), list[bytes | Overlong]()
    for piece in pieces:
        events += splitter.receive(piece)
    whole = LineSplitter(LIMIT).receive(b"".join(pieces))
    assert events == whole
    assert all(isinstance(event, Overlong) or 0 < len(event) <= LIMIT for event in events)


def answer(call: Call | Reply, result: object) -> None:
    """Whatever the id was, what is said under it is a line that can be read, and names it alike."""
    for line in (reply(call.id, result), error_reply(call.id, Rejection(20, "no"))):
        again = parse(line.rstrip(b"\n"))
        assert isinstance(again, Reply)
        assert again.id == call.id
        assert b"\n" not in line[:-1]


def read_call(line: bytes) -> None:
    message = parse(line)
    if isinstance(message, Call):
        answer(message, True)
        read_configure(message.params)
        read_subscribe(message.params)
        read_suggest_difficulty(message.params)
        read_suggest_target(message.params)
        if message.method == "mining.authorize":
            read_authorize(message.params)
        else:
            read_submit(message.params)


def read_answer(line: bytes) -> None:
    message = parse(line)
    if isinstance(message, Reply):
        answer(message, True)
        read_version_mask(message.result)
        read_subscription(message.result)
    elif isinstance(message, Call):
        read_pushed(message.method, message.params)
    else:
        assert message == Empty()


def hear_pool(line: bytes) -> None:
    """A client that has asked for everything makes something of every line, and raises nothing."""
    client = ClientSession("agent/1", SV1_MASK)
    asked = [client.configure(), client.subscribe(), client.authorize("us", "x")]
    for extranonce2 in (b"\0", b"\1"):
        asked.append(
            client.submit("us", "1f", extranonce2=extranonce2, ntime=NOW, nonce=1, version_bits=None)[1]
        )
    assert all(isinstance(parse(each.rstrip()), Call) for each in asked)
    event = client.receive(line)
    if isinstance(event, Answered) and event.line:
        assert isinstance(parse(event.line.rstrip(b"\n")), Reply)
    assert client.mask & ~SV1_MASK == 0
    if isinstance(event, Judged) and event.refusal is not None:
        rejection(code_of(event.refusal))
    if isinstance(event, Redirected):
        is_same_domain("eu.pool.example", event.where.host or "eu.pool.example")
    if isinstance(event, ToDo):
        granted = client.granted or Subscription(b"\1\2\3\4", 8, "")
        made = UpstreamJobs(lambda: 1).take(
            event.notify, granted, mask=client.mask, difficulty=client.difficulty or Fraction(1), serial=1
        )
        work = made.work(Layout(granted.extranonce2_size - 1, 1))
        assert parse_notify(work.notify("1", work.ntime, clean=True)).bits == event.notify.bits


def read_pushed(method: str, params: list[Any]) -> None:
    match method:
        case "mining.notify":
            job = read_notify(params)
            assert parse_notify(notify(job)) == job
        case "mining.set_difficulty":
            assert read_set_difficulty(params) > 0
        case "mining.set_version_mask":
            read_set_version_mask(params)
        case _:
            read_set_extranonce(params)


def parse_notify(line: bytes) -> Notify:
    message = parse(line.rstrip(b"\n"))
    assert isinstance(message, Call)
    return read_notify(message.params)


class Submission(NamedTuple):
    """A miner's line, and what it was granted."""

    line: bytes
    work: Work
    mask: int


SUBMITS: Final = JsonSamples(CALLS[3:5])
LAYOUT: Final = Layout(extranonce2_size=8)
EASY: Final = (1 << 256) - 1


def works() -> tuple[Work, ...]:
    """Work of an upstream that lets versions roll, and of one that does not."""
    made = []
    for rolling in (True, False):
        channel = ChannelWork(LAYOUT, 12, b"\x09" * 8, EASY >> 2)
        job = NewExtendedMiningJob(1, 1, None, 0x20000000, rolling, JOB.branches, *COINBASE)
        assert channel.job(job) is None
        made.append(channel.new_tip(SetNewPrevHash(1, 1, JOB.previous, NOW - 60, JOB.bits)))
    return tuple(made)


WORKS: Final = works()


def make_submission(mutator: Mutator) -> Submission:
    return Submission(SUBMITS.damage(mutator), mutator.pick(WORKS), mutator.pick((0, SV1_MASK, 0xFFFFFFFF)))


def read_submission(submission: Submission) -> None:
    call = parse(submission.line)
    if isinstance(call, Call):
        share = read_submit(call.params)
        judged = judge(
            share,
            submission.work,
            layout=LAYOUT,
            extranonce1=b"\0\0\0\1",
            mask=submission.mask,
            miner_target=EASY >> 1,
            now=1_363_000_000 if share.ntime < NOW - 60 else NOW,
        )
        assert len(judged.extranonce) == 12
        assert 0 <= judged.version < 1 << 32


class Job(NamedTuple):
    """What an upstream says of work."""

    size: int
    prefix: bytes
    message: NewExtendedMiningJob
    tip: SetNewPrevHash
    code: str


def make_job(mutator: Mutator) -> Job:
    segwit = COINBASE[0][:4] + b"\0\1" + COINBASE[0][4:], COINBASE[1][:-4] + b"\1\x20" + bytes(36)
    first, second = mutator.pick((COINBASE, segwit))
    if mutator.happens(1 / 2):
        first, second = mutator.damage([first]), mutator.damage([second])
    message = NewExtendedMiningJob(
        1,
        mutator.below(3),
        mutator.pick((None, NOW)),
        mutator.below(1 << 32),
        mutator.happens(1 / 2),
        (mutator.noise(32),) * mutator.below(4),
        first,
        second,
    )
    tip = SetNewPrevHash(1, mutator.below(3), mutator.noise(32), NOW, mutator.below(1 << 32))
    return Job(
        mutator.below(32), mutator.noise(mutator.below(33)), message, tip, mutator.text(["stale-share", "x"])
    )


def read_job(job: Job) -> None:
    rejection(job.code)
    channel = ChannelWork(LAYOUT, job.size, job.prefix, EASY)
    work = channel.job(job.message) or channel.new_tip(job.tip)
    told = work.notify("1", work.ntime, clean=True)
    assert notify(parse_notify(told)) == told
    Fraction(1, work.target)


PARSERS: Final = (
    Parser("sv1-lines", make_lines, read_lines, (WrongProtocolError,)),
    Parser("sv1-calls", CALL_SAMPLES.damage, read_call, (Rejection,)),
    Parser("sv1-answers", ANSWER_SAMPLES.damage, read_answer, (MalformedError,)),
    Parser("sv1-pool", POOL_SAMPLES.damage, hear_pool, ()),
    Parser("translation-shares", make_submission, read_submission, (Rejection,)),
    Parser("translation-jobs", make_job, read_job, (TranslationError,)),
)
