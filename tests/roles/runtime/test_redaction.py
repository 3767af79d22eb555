import json
import logging

import pytest

from roles.runtime.log import LineFormatter
from roles.runtime.redaction import Shown, shown


@pytest.mark.parametrize(
    ("peer", "subnet"),
    [
        ("192.0.2.7:3333", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.0/24"),
        ("[2001:db8:1:2:3::4]:3333", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
    ],
)
def test_an_address_is_shown_in_full_by_its_subnet_or_not_at_all(peer: str, subnet: str) -> None:
    assert shown(peer, "full") == peer
    assert shown(peer, "subnet") == subnet
    assert shown(peer, "hidden") is None


def test_what_is_no_address_stays() -> None:
    assert shown("a peer that has already gone", "hidden") == "a peer that has already gone"


@pytest.mark.parametrize(("how", "told"), [("subnet", "192.0.2.0/24"), ("hidden", "hidden")])
def test_no_address_of_a_peer_reaches_the_log_but_as_it_may_be_shown(how: Shown, told: str) -> None:
    record = logging.makeLogRecord({"msg": "a peer is gone", "peer": "192.0.2.7:3333", "host": "192.0.2.7"})
    line = json.loads(LineFormatter("pool", "json", addresses=how).format(record))
    assert (line["peer"], line["host"]) == (told, told)
