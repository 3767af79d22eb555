"""Network addresses as people write them: ``host:port``, with brackets around an IPv6 host."""

import ipaddress
import re
from dataclasses import dataclass

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host (name, IPv4 or IPv6 without brackets) and a TCP port, 1 to 65535, or 0 for any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``host:port`` or ``[ipv6]:port``; raises ValueError that says what is wrong."""
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError("needs a host and a port, as in 127.0.0.1:34254")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not _is_ip(host, 6):
                raise ValueError(f"{host} is not an IPv6 address")
        elif ":" in host:
            raise ValueError("an IPv6 host stands in brackets, as in [::1]:34254")
        elif not (_is_ip(host, 4) if re.fullmatch(r"[0-9.]+", host) else _HOST_NAME.match(host)):
            raise ValueError(f"{host or 'nothing'} is neither a host name nor an IP address")
        if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError(f"the port must be a number from 0 to 65535, not {port or 'nothing'}")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can be reached by it."""
        if self.host == "localhost":
            return True
        return (_is_ip(self.host, 4) or _is_ip(self.host, 6)) and ipaddress.ip_address(self.host).is_loopback

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all addresses of the machine."""
        ip = _is_ip(self.host, 4) or _is_ip(self.host, 6)
        return ip and ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_ip(host: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(host).version == version
    except ValueError:
        return False
