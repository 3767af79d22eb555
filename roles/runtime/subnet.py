"""The subnet of a peer, which limits and people know it by."""

import ipaddress


def subnet_of(host: str) -> str:
    """The /24 of an IPv4 address, the /64 of an IPv6 one; what is no address stands for itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(ipaddress.IPv4Network((address, 24), strict=False))
