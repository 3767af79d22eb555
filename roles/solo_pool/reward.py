"""Whom a block pays: the address that its miner's user name begins with, or the operator's."""

import re

from protocols.bitcoin.address import script_from_address
from protocols.bitcoin.errors import AddressError
from protocols.bitcoin.networks import Network
from protocols.sv1.errors import ErrorCode, Rejection

_BASE58 = re.compile(r"[123mn][1-9A-HJ-NP-Za-km-z]{25,34}")
"""What looks like an address, and is none where its checksum is wrong."""


class Rewards:
    """Output scripts by user name; `default` is the operator's, None for none."""

    def __init__(self, network: Network, default: bytes | None) -> None:
        self._network = network
        self._default = default
        self._prefixes = tuple(f"{each.parameters.segwit_prefix}1" for each in Network)

    def script_of(self, user: str) -> bytes:
        """The script of ``<address>[.worker]``, else the operator's.

        Raises Rejection where there is none, and for a mistyped address, which would pay somebody else.
        """
        name = user.partition(".")[0]
        try:
            return script_from_address(name, self._network)
        except AddressError as error:
            if name.lower().startswith(self._prefixes) or _BASE58.fullmatch(name):
                raise Rejection(ErrorCode.UNAUTHORIZED, f"Invalid address: {error}") from error
        if self._default is None:
            text = f"User name must begin with an address of {self._network}"
            raise Rejection(ErrorCode.UNAUTHORIZED, text)
        return self._default
