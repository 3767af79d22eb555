import json
from fractions import Fraction
from typing import Any

import pytest

from protocols.sv1.client import (
    GIVEN_UP_KEPT,
    Answered,
    Authorized,
    Changed,
    ClientSession,
    Configured,
    Event,
    Job,
    Judged,
    Message,
    Odd,
    Redirected,
    Subscribed,
)
from protocols.sv1.notifications import Notify, notify
from protocols.sv1.redirect import Redirect
from protocols.sv1.results import Subscription

NOTIFY = Notify(
    "a1", b"\x07" * 32, b"\x01" * 60, b"\x02" * 40, (), 0x20000000, 0x207FFFFF, 1_700_000_000, True
)


def session() -> ClientSession:
    return ClientSession("agent/1", 0x1FFFE000)


def said(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    read = json.loads(line)
    assert isinstance(read, dict)
    return read


def hear(client: ClientSession, **message: object) -> Event:
    return client.receive(json.dumps(message).encode())


def call(client: ClientSession, method: str, *params: object, id: object = None) -> Event:
    return hear(client, id=id, method=method, params=list(params))


def submit(client: ClientSession) -> int:
    id, _ = client.submit("us", "a1", extranonce2=b"\x01\x02", ntime=1, nonce=2, version_bits=None)
    return id


def test_a_client_introduces_itself_as_pools_expect() -> None:
    client = session()
    assert said(client.configure()) == {
        "id": 1,
        "method": "mining.configure",
        "params": [
            ["version-rolling"],
            {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2},
        ],
    }
    assert said(client.subscribe()) == {"id": 2, "method": "mining.subscribe", "params": ["agent/1"]}
    assert said(client.authorize("us", "x"))["params"] == ["us", "x"]
    assert said(client.suggest_difficulty(4096.0))["params"] == [4096]
    assert said(client.suggest_difficulty(0.5))["params"] == [0.5]
    assert said(client.subscribe_extranonce())["method"] == "mining.extranonce.subscribe"
    assert said(client.subscribe("former"))["params"] == ["agent/1", "former"]
    assert hear(
        client, id=1, result={"version-rolling": True, "version-rolling.mask": "5fffe000"}, error=None
    ) == (Configured())
    assert client.mask == 0x1FFFE000
    granted = [[["mining.notify", "s"]], "aabbccdd", 8]
    assert hear(client, id="2", result=granted, error=None) == Subscribed()
    assert client.granted == Subscription(b"\xaa\xbb\xcc\xdd", 8, "s")
    assert hear(client, id=3, result=True, error=None) == Authorized("us", None)
    assert hear(client, id=4, result=True, error=None) == Answered()
    assert hear(client, id=6, result=None, error=[20, "Not supported.", None]) == Answered()


def test_a_pool_may_refuse_version_rolling_a_subscription_or_a_name() -> None:
    client = session()
    client.configure()
    client.subscribe()
    client.subscribe()
    client.authorize("us", "x")
    hear(client, id=1, result={"version-rolling": False}, error=None)
    assert client.mask == 0
    refused = hear(client, id=2, result=None, error=[20, "Full", None])
    assert isinstance(refused, Subscribed)
    assert refused.refusal is not None
    assert refused.refusal.text == "Full"
    garbled = hear(client, id=3, result=[[], "zz", 8], error=None)
    assert isinstance(garbled, Subscribed)
    assert garbled.refusal is not None
    unknown = hear(client, id=4, result=False, error=None)
    assert isinstance(unknown, Authorized)
    assert unknown.refusal is not None


def test_a_share_is_written_as_every_pool_reads_it() -> None:
    id, line = session().submit(
        'a"b\u20ac', "a1", extranonce2=b"\x00\xff", ntime=0x65, nonce=1, version_bits=0x2000
    )
    assert said(line) == {
        "id": id,
        "method": "mining.submit",
        "params": ['a"b\u20ac', "a1", "00ff", "00000065", "00000001", "00002000"],
    }
    client = session()
    assert (
        len(
            said(client.submit("us", "a1", extranonce2=b"", ntime=0, nonce=0, version_bits=None)[1])["params"]
        )
        == 5
    )


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"result": True, "error": None}, None),
        ({"result": True, "error": [23, "Above target", None]}, "Above target"),
        ({"result": None, "error": [23, "Above target", None]}, "Above target"),
        ({"result": None, "error": {"code": 23, "message": "Above target"}}, "Above target"),
        ({"result": None, "error": "Above target"}, "Above target"),
        ({"result": False, "error": None, "reject-reason": "Above target"}, "Above target"),
        ({"result": False, "error": None}, "Rejected"),
        ({"result": None, "error": None}, "No verdict in the answer"),
    ],
)
def test_a_verdict_is_understood_in_every_form_in_use(answer: dict[str, object], text: str | None) -> None:
    client = session()
    id = submit(client)
    verdict = hear(client, id=id, **answer)
    assert isinstance(verdict, Judged)
    assert (verdict.id, verdict.is_late) == (id, False)
    assert (verdict.refusal.text if verdict.refusal else None) == text


def test_verdicts_are_told_by_their_id_in_any_order_and_once() -> None:
    client = session()
    first, second = submit(client), submit(client)
    assert hear(client, id=second, result=True, error=None) == Judged(second, None)
    assert hear(client, id=first, result=True, error=None) == Judged(first, None)
    assert hear(client, id=first, result=True, error=None) == Odd("answer")
    for strange in (None, "x", 1.5, -1, 10**30, [1]):
        assert hear(client, id=strange, result=True, error=None) == Odd("answer")


def test_a_share_is_accepted_in_the_plainest_way_once_and_nothing_else_is() -> None:
    client = session()
    said(client.configure())
    asked = said(client.authorize("us", "x"))["id"]
    first, second = submit(client), submit(client)
    yes = b'{"id":%d,"result":true,"error":null}'
    assert client.accepted(yes % first) == first
    for line in (yes % first, yes % asked, yes % 99, b'{"id":%d,"result":false}' % second, b"{"):
        assert client.accepted(line) is None
    assert client.receive(yes % asked) == Authorized("us", None)
    assert client.receive(yes % first) == Odd("answer")
    assert client.accepted(yes % second) == second


def test_a_late_verdict_is_told_from_an_answer_to_nothing() -> None:
    client = session()
    id = submit(client)
    client.give_up(id)
    client.give_up(id)
    assert hear(client, id=id, result=True, error=None) == Judged(id, None, is_late=True)
    assert hear(client, id=id, result=True, error=None) == Odd("answer")
    first = submit(client)
    client.give_up(first)
    for _ in range(GIVEN_UP_KEPT):
        client.give_up(submit(client))
    assert hear(client, id=first, result=True, error=None) == Odd("answer")


def test_what_a_pool_says_unasked_is_in_force_from_then_on() -> None:
    client = session()
    assert call(client, "mining.set_extranonce", "aa", 4) == Odd("extranonce")
    client.subscribe()
    hear(client, id=1, result=[[["mining.notify", "s"]], "aabbccdd", 8], error=None)
    assert call(client, "mining.set_difficulty", 0.5) == Changed()
    assert call(client, "mining.set_extranonce", "0102", 4) == Changed()
    assert call(client, "mining.set_version_mask", "ffffffff") == Changed()
    assert client.difficulty == Fraction(1, 2)
    assert client.granted == Subscription(b"\x01\x02", 4, "s")
    assert client.mask == 0x1FFFE000
    assert client.receive(notify(NOTIFY)) == Job(NOTIFY)
    assert call(client, "client.reconnect", "b.example", 1) == Redirected(Redirect("b.example", 1, 0))
    assert call(client, "client.show_message", "hello\nworld") == Message("hello world")


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("mining.notify", "notify"),
        ("mining.set_difficulty", "difficulty"),
        ("mining.set_extranonce", "extranonce"),
        ("mining.set_version_mask", "mask"),
        ("client.show_message", "message"),
        ("mining.new_thing", "method"),
    ],
)
def test_what_makes_no_sense_changes_nothing(method: str, what: str) -> None:
    client = session()
    assert call(client, method) == Odd(what)
    assert (client.granted, client.mask, client.difficulty) == (None, 0, None)


def test_a_line_that_is_no_message_is_odd() -> None:
    assert session().receive(b"what?") == Odd("line")
    assert call(session(), "client.reconnect", 7) == Odd("redirect")
    assert hear(session()) == Answered()


def test_what_a_pool_asks_is_answered() -> None:
    client = session()
    version = call(client, "client.get_version", id=7)
    assert isinstance(version, Answered)
    assert said(version.line) == {"id": 7, "result": "agent/1", "error": None}
    ping = call(client, "mining.ping", id="p")
    assert isinstance(ping, Answered)
    assert said(ping.line) == {"id": "p", "result": "pong", "error": None}
    unknown = call(client, "mining.new_thing", id=8)
    assert isinstance(unknown, Answered)
    assert said(unknown.line)["error"][0] == -3
