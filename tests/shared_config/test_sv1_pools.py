import pytest
from pydantic import ValidationError

from shared_config.address import Address
from shared_config.sv1_pools import Sv1PoolSettings, Sv1UpstreamLimits, review_pools


def pool(**settings: object) -> Sv1PoolSettings:
    return Sv1PoolSettings.model_validate({"url": "stratum+tcp://pool.example:3333", "user": "us"} | settings)


@pytest.mark.parametrize(
    ("url", "tls"),
    [
        ("stratum+tcp://pool.example:3333", False),
        ("pool.example:3333", False),
        ("stratum+ssl://pool.example:3333/", True),
        ("STRATUM+TLS://pool.example:3333", True),
    ],
)
def test_a_pools_url_says_where_it_is_and_whether_by_tls(url: str, tls: bool) -> None:
    read = pool(url=url).url
    assert read.address == Address("pool.example", 3333)
    assert read.tls is tls
    assert str(read) == f"stratum+{'ssl' if tls else 'tcp'}://pool.example:3333"
    assert pool(url=read).url is read
    assert pool(url=url).label == "pool.example:3333"
    assert pool(url=url, name="best").label == "best"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"url": "http://pool.example:3333"}, "must begin with"),
        ({"url": "stratum+tcp://us:x@pool.example:3333"}, "do not belong"),
        ({"url": "stratum+tcp://pool.example"}, "needs a host and a port"),
        ({"url": 7}, "needs a host and a port"),
        ({"certificate_fingerprint": "00"}, "64 hex digits"),
    ],
)
def test_what_cannot_be_meant_is_told(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        pool(**wrong)


def test_a_list_of_pools_is_looked_at_as_a_whole() -> None:
    assert not list(review_pools("pools", [pool(), pool(url="other.example:3333", name="other")]))
    assert [each.key for each in review_pools("pools", [])] == ["pools"]
    pin = "ab" * 32
    found = review_pools(
        "pools",
        [
            pool(certificate_fingerprint=":".join(["AB"] * 32)),
            pool(),
            pool(url="c.example:1", name="pool.example:3333"),
            pool(url="d.example:1", name="a\tb"),
            pool(url="ssl://e.example:1", certificate_fingerprint=pin, certificate_authority="ca.pem"),
        ],
    )
    assert [each.key for each in found] == [
        "pools.0.url",
        "pools.1.url",
        "pools.2.name",
        "pools.3.name",
        "pools.4.certificate_fingerprint",
    ]


def test_bounds_have_values_to_start_from() -> None:
    assert Sv1UpstreamLimits().failback_s == 120
    assert Sv1UpstreamLimits.model_validate({"failback_s": "forever"}).failback_s is None
