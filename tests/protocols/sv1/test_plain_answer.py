import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv1.messages import Reply, parse
from protocols.sv1.plain_answer import read_plain_yes


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":7,"result":true,"error":null}',
        b'{"error": null, "id": 7, "result": true}',
        b'{"id": 7, "result": true, "jsonrpc": "2.0"}',
        b'{"id":7,"result":true,"error":null,"reject-reason":null}',
    ],
)
def test_a_plain_yes_is_read(line: bytes) -> None:
    assert read_plain_yes(line) == 7


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"7",
        b"[]",
        b'{"id":7,"result":1,"error":null}',
        b'{"id":7,"result":false,"error":null}',
        b'{"id":7,"result":true,"error":[23,"Above target",null]}',
        b'{"id":7,"result":true,"error":null,"reject-reason":"stale"}',
        b'{"id":7,"result":true,"method":"mining.notify"}',
        b'{"id":"7","result":true,"error":null}',
        b'{"id":true,"result":true,"error":null}',
        b'{"result":true,"error":null}',
    ],
)
def test_any_other_line_is_not(line: bytes) -> None:
    assert read_plain_yes(line) is None


VALUES = st.sampled_from([None, True, False, 0, 1, 7, -7, "", "7", "x", [], [21, "x"], {}, {"code": 1}, 1.5])


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["id", "result", "error", "reject-reason", "method", "params"]),
        VALUES | st.just(True),
    )
)
def test_what_is_read_as_a_yes_is_one_by_the_long_way(fields: dict[str, object]) -> None:
    line = json.dumps(fields).encode()
    id = read_plain_yes(line)
    if id is not None:
        assert parse(line) == Reply(b"%d" % id, True, None)
