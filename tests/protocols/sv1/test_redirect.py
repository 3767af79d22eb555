import pytest

from protocols.sv1.errors import MalformedError
from protocols.sv1.redirect import Redirect, is_same_domain, read_reconnect


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ([], Redirect(None, None, 0)),
        (["", 3334], Redirect(None, 3334, 0)),
        (["b.pool.example", "3334", 5], Redirect("b.pool.example", 3334, 5)),
        (["b.pool.example", 3334, "9999", "more"], Redirect("b.pool.example", 3334, 600)),
        ([None, None, -1], Redirect(None, None, 0)),
    ],
)
def test_a_pool_may_name_host_port_and_wait(params: list[object], where: Redirect) -> None:
    assert read_reconnect(params) == where


@pytest.mark.parametrize(
    "params", [[7], ["a b"], ["a" * 254], ["a.example", 0], ["a.example", 65536], ["a.example", "x"]]
)
def test_what_is_no_place_is_refused(params: list[object]) -> None:
    with pytest.raises(MalformedError):
        read_reconnect(params)


@pytest.mark.parametrize(
    ("host", "other", "may"),
    [
        ("eu.pool.example", "EU.pool.example.", True),
        ("eu.pool.example", "us.pool.example", True),
        ("pool.example", "us.pool.example", True),
        ("eu.pool.example", "evil.example", False),
        ("eu.pool.example", "eu.evilpool.example", False),
        ("pool.example", "evil.example", False),
        ("pool.co.uk", "evil.co.uk", False),
        ("eu.pool.co.uk", "us.pool.co.uk", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("1.0.2.1", "9.1.0.2.1", False),
        ("pool.example", "::1", False),
        ("localhost", "evil.localhost", False),
    ],
)
def test_a_redirect_may_lead_elsewhere_in_the_same_domain_only(host: str, other: str, may: bool) -> None:
    assert is_same_domain(host, other) is may
