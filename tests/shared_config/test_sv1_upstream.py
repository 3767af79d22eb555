import pytest
from pydantic import ValidationError

from shared_config.address import Address
from shared_config.sv1_upstream import Sv1PoolSettings

PIN = ":".join(["AB"] * 32)


def pool(**settings: object) -> Sv1PoolSettings:
    return Sv1PoolSettings.model_validate({"address": "pool.example:3333", "user": "us"} | settings)


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        ("pool.example:3333", False),
        ("stratum+tcp://pool.example:3333", False),
        ("stratum+ssl://pool.example:3333/", True),
        ("STRATUM+TLS://pool.example:3333", True),
    ],
)
def test_a_pools_address_may_be_its_url(text: str, tls: bool) -> None:
    read = pool(address=text)
    assert (read.address, read.tls) == (Address("pool.example", 3333), tls)
    assert read.label == "pool.example:3333"
    assert not list(read.review("pools.0"))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"address": "http://pool.example:3333"}, "must be host:port"),
        ({"address": "stratum+tcp://us:x@pool.example:3333"}, "must not have a user"),
        ({"address": "stratum+tcp://pool.example:3333", "tls": True}, "something else"),
        ({"address": "stratum+tcp://pool.example"}, "needs a host and a port"),
        ({"address": 7}, "must be text"),
    ],
)
def test_an_address_that_cannot_be_meant_is_told(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        pool(**wrong)


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"name": "a\tb"}, ["pools.0.name"]),
        ({"tls_fingerprint": PIN}, ["pools.0.tls"]),
        ({"tls": True, "tls_fingerprint": PIN}, []),
        ({"tls": True, "tls_fingerprint": "AB"}, ["pools.0.tls_fingerprint"]),
        ({"tls": True, "tls_fingerprint": PIN, "tls_ca_file": "ca.pem"}, ["pools.0.tls_fingerprint"]),
    ],
)
def test_what_does_not_go_together_is_told(settings: dict[str, object], keys: list[str]) -> None:
    assert [each.key for each in pool(**settings).review("pools.0")] == keys
