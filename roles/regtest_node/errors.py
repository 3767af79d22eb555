"""What the regtest node raises.

::

    RegtestNodeError
    ├── KernelMissing             py-bitcoinkernel is not installed or has no wheel here (an OperatorError)
    ├── StateInUse                another node holds the state directory (an OperatorError)
    ├── KernelFault               the kernel refused to open or read what it wrote itself (an OperatorError)
    ├── UndecodableBlock          bytes that the kernel does not read as a block
    ├── UndecodableTransaction    bytes that are no transaction
    ├── TransactionRefused        a transaction that the mempool does not take; carries bitcoind's reason
    └── RpcError                  an answer to a client; carries bitcoind's error code
"""

from typing import Final

from roles.runtime import sysexits
from roles.runtime.errors import OperatorError

# bitcoind's codes, from its rpc/protocol.h
MISC_ERROR: Final = -1
TYPE_ERROR: Final = -3
INVALID_ADDRESS_OR_KEY: Final = -5
INVALID_PARAMETER: Final = -8
NOT_CONNECTED: Final = -9
DESERIALIZATION_ERROR: Final = -22
VERIFY_ERROR: Final = -25
VERIFY_REJECTED: Final = -26
VERIFY_ALREADY_IN_CHAIN: Final = -27
IN_WARMUP: Final = -28
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INTERNAL_ERROR: Final = -32603
PARSE_ERROR: Final = -32700


class RegtestNodeError(Exception):
    """The root of the tree."""


class KernelMissing(RegtestNodeError, OperatorError):
    """The consensus library cannot be loaded on this machine."""

    exit_code = sysexits.UNAVAILABLE

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the regtest node needs Bitcoin Core's consensus library, and it cannot be loaded: {why}",
            hint="install the extra with «pip install 'hashpool[node]'» (wheels for CPython 3.11 to 3.13 "
            "on Linux and macOS), or run a bitcoind in regtest and set bitcoin.rpc_url to it",
        )


class StateInUse(RegtestNodeError, OperatorError):
    """Another process has the chain open."""

    exit_code = sysexits.TEMPORARY


class KernelFault(RegtestNodeError, OperatorError):
    """The kernel failed on its own data, or was used after it was closed."""

    exit_code = sysexits.IO


class UndecodableBlock(RegtestNodeError):
    """Bytes that are not a block."""


class UndecodableTransaction(RegtestNodeError):
    """Bytes that are not a transaction."""


class TransactionRefused(RegtestNodeError):
    """The mempool does not take a transaction.

    ``reason`` is bitcoind's reject reason, ``detail`` its debug text, ``missing`` whether an input is unknown
    or spent.
    """

    def __init__(self, reason: str, detail: str = "", *, missing: bool = False) -> None:
        super().__init__(f"{reason}, {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.missing = missing


class RpcError(RegtestNodeError):
    """An error answer with bitcoind's ``code`` and ``message``."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
