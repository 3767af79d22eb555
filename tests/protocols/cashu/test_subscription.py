import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.cashu import subscription
from protocols.cashu.errors import RpcError
from protocols.cashu.subscription import Subscribe, Unsubscribe, accepted, notice, parse, refused

POINT = "02e208f9a78cd523444aadf854a4e91281d20f67a923d345239c37f14e137c7c3d"
SUB_ID = "Ua_IYvRHoCoF_wsZFlJ1m4gBDB--O0_6_n0zHg2T"


def _message(method: str = "subscribe", request_id: object = 0, **params: object) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": request_id,
        "method": method,
        "params": {"subId": SUB_ID, "kind": "proof_state", "filters": [POINT], **params},
    }


def _parse(message: object) -> Subscribe | Unsubscribe:
    return parse(json.dumps(message), max_filters=3)


def test_the_exchange_of_the_specification() -> None:
    request = _parse(_message())
    assert request == Subscribe(0, SUB_ID, "proof_state", (POINT,))
    assert json.loads(accepted(request)) == {
        "jsonrpc": "2.0",
        "result": {"status": "OK", "subId": SUB_ID},
        "id": 0,
    }
    payload = {"Y": POINT, "state": "UNSPENT", "witness": None}
    assert json.loads(notice(SUB_ID, payload)) == {
        "jsonrpc": "2.0",
        "method": "subscribe",
        "params": {"subId": SUB_ID, "payload": payload},
    }
    done = _parse(_message("unsubscribe", 1))
    assert done == Unsubscribe(1, SUB_ID)
    assert json.loads(accepted(done))["id"] == 1


def test_quotes_are_named_by_their_ids_and_each_object_once() -> None:
    kind = subscription.mint_quote_kind("ehash")
    assert kind == "ehash_mint_quote"
    assert subscription.melt_quote_kind("bolt11") == "bolt11_melt_quote"
    request = _parse(_message(kind=kind, filters=["b", "a", "b"]))
    assert request == Subscribe(0, SUB_ID, kind, ("b", "a"))
    upper = _parse(_message(filters=[POINT.upper(), POINT]))
    assert isinstance(upper, Subscribe)
    assert upper.filters == (POINT,)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ([], -32600),
        ({}, -32600),
        (_message() | {"jsonrpc": "1.0"}, -32600),
        (_message() | {"method": 5}, -32600),
        (_message("publish"), -32601),
        (_message() | {"params": []}, -32602),
        (_message(subId=5), -32602),
        (_message(subId="s" * 257), -32602),
        (_message(kind=None), -32602),
        (_message(filters=None), -32602),
        (_message(filters=[]), -32602),
        (_message(filters=[POINT] * 4), -32602),
        (_message(filters=["02"]), -32602),
        (_message(kind="x_mint_quote", filters=["q" * 129]), -32602),
        (_message(kind="x_mint_quote", filters=[5]), -32602),
    ],
)
def test_a_message_that_is_no_request_is_refused_with_the_code_of_json_rpc(message: Any, code: int) -> None:
    with pytest.raises(RpcError) as caught:
        _parse(message)
    assert caught.value.code == code
    answer = json.loads(refused(caught.value))
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]
    assert answer["id"] == (message.get("id") if isinstance(message, dict) else None)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800"])
def test_what_is_no_json_is_refused_without_an_id(text: str) -> None:
    with pytest.raises(RpcError) as caught:
        parse(text, max_filters=3)
    assert (caught.value.code, caught.value.request_id) == (-32700, None)


@pytest.mark.parametrize(("given_id", "answered"), [("a", "a"), ("a" * 129, None), (True, None), (1.5, None)])
def test_an_answer_carries_the_id_of_its_request_if_that_is_one(given_id: object, answered: object) -> None:
    assert json.loads(accepted(_parse(_message(request_id=given_id))))["id"] == answered


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params"]),
        st.sampled_from(["2.0", "subscribe", "unsubscribe", 5, None])
        | st.dictionaries(
            st.sampled_from(["subId", "kind", "filters"]),
            st.sampled_from(["proof_state", "s", 5, None])
            | st.lists(st.sampled_from([POINT, "q", 5]), max_size=3),
        ),
    )
)
def test_any_message_is_read_or_refused(message: dict[str, Any]) -> None:
    try:
        answer = accepted(_parse(message))
    except RpcError as error:
        answer = refused(error)
    assert ("result" in json.loads(answer)) != ("error" in json.loads(answer))
