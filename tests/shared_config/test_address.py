import pytest

from shared_config.address import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:34254", "127.0.0.1", 34254),
        ("[::1]:3338", "::1", 3338),
        ("pool.example.org:34254", "pool.example.org", 34254),
        ("localhost:0", "localhost", 0),
        ("my_host:65535", "my_host", 65535),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("127.0.0.1", "needs a host and a port"),
        ("127.0.0.1:", "the port must be a number from 0 to 65535, not nothing"),
        ("127.0.0.1:65536", "not 65536"),
        ("127.0.0.1:+1", r"not \+1"),
        ("127.0.0.1:٣", "not ٣"),
        ("127.0.0.256:1", "127.0.0.256 is neither"),
        ("::1:34254", "brackets"),
        ("[::g]:1", "not an IPv6 address"),
        (":34254", "nothing is neither"),
        ("-x:1", "neither a host name"),
        ("http://host:1", "brackets"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Address.parse(text)


def test_an_address_for_all_of_the_machine_is_known() -> None:
    assert Address("0.0.0.0", 1).is_wildcard
    assert Address("::", 1).is_wildcard
    assert not Address("127.0.0.1", 1).is_wildcard
    assert not Address("example.org", 1).is_wildcard


def test_loopback_is_known_by_number_and_by_name() -> None:
    assert Address("127.0.0.5", 1).is_loopback
    assert Address("::1", 1).is_loopback
    assert Address("localhost", 1).is_loopback
    assert not Address("0.0.0.0", 1).is_loopback
    assert not Address("example.org", 1).is_loopback
