"""Types of single values: each reads its text and says in words what is wrong with it."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from protocols.bitcoin import secp256k1
from protocols.bitcoin.networks import Network
from protocols.noise.authority import decode_public
from protocols.noise.errors import AuthorityKeyError
from shared_config.address import Address


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("must be text in quotes")


def _listen_address(value: Any) -> Address:
    return value if isinstance(value, Address) else Address.parse(_text(value))


def peer_address(value: Any) -> Address:
    address = _listen_address(value)
    if address.port == 0:
        raise ValueError("the port of a peer cannot be 0")
    if address.is_wildcard:
        raise ValueError("is an address to listen on, not one of a peer")
    return address


def _url(value: Any) -> str:
    text = _text(value)
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not text.isprintable() or " " in text:
        raise ValueError("must be a URL, as in http://127.0.0.1:3338")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a password does not belong into a configuration file; name a file that holds it")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    _ = parts.port  # raises ValueError when it is out of range
    return text.rstrip("/")


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not _text(value):
        raise ValueError("must name a file")
    return Path(value)


def _network(value: Any) -> Network:
    try:
        return Network(value)
    except ValueError as error:
        raise ValueError("must be one of " + ", ".join(Network)) from error


def _public_key(value: Any) -> bytes:
    """33 bytes, a point on the curve."""
    if isinstance(value, bytes):
        return value
    text = _text(value)
    if not re.fullmatch(r"0[23][0-9a-fA-F]{64}", text):
        raise ValueError("must be a public key: 66 hex digits that begin with 02 or 03")
    key = bytes.fromhex(text)
    if not secp256k1.is_point(key):
        raise ValueError("is not a point on the curve: a digit must be wrong")
    return key


def _authority_key(value: Any) -> bytes:
    """32 bytes, the x coordinate of a point on the curve."""
    if isinstance(value, bytes):
        return value
    try:
        return decode_public(_text(value))
    except AuthorityKeyError as error:
        raise ValueError(str(error)) from error


def _seconds_or_forever(value: Any) -> float | None:
    if value is None or value == "forever":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
        raise ValueError('must be a number of seconds from 0 to 86400, or "forever"')
    return float(value)


def _tag(value: Any) -> str:
    text = _text(value)
    if not (text.isascii() and text.isprintable()) or len(text) > 32:
        raise ValueError("must be at most 32 printable ASCII characters")
    return text


def _ip_network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(_text(value))
    except ValueError as error:
        raise ValueError("must be an address or a network, as in 192.0.2.7 or 192.0.2.0/24") from error


ListenAddress = Annotated[Address, BeforeValidator(_listen_address)]
"""``host:port`` to listen on; port 0 takes any free one."""
PeerAddress = Annotated[Address, BeforeValidator(peer_address)]
"""``host:port`` of another daemon."""
HttpUrl = Annotated[str, BeforeValidator(_url)]
"""An http or https URL without credentials and without a slash at its end."""
FilePath = Annotated[Path, BeforeValidator(_path)]
"""A file; a relative one is looked for in the state directory."""
NetworkName = Annotated[Network, BeforeValidator(_network)]
PublicKey = Annotated[bytes, BeforeValidator(_public_key)]
"""A compressed secp256k1 public key, 33 bytes, written as hex."""
AuthorityKey = Annotated[bytes, BeforeValidator(_authority_key)]
"""An x-only public key, 32 bytes, written as SV2 authority keys are: Base58Check of version 1 and the key."""
SecondsOrForever = Annotated[float | None, BeforeValidator(_seconds_or_forever)]
"""Seconds, or None for ``"forever"``."""
IpNetwork = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_ip_network)]
"""An IP address or a network of them."""
CoinbaseTag = Annotated[str, BeforeValidator(_tag)]
