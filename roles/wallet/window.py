"""The wallet's socket: orders from the command line to the process that has the wallet's store open."""

from pathlib import Path
from typing import Final

import orjson

from roles.runtime.errors import OperatorError
from roles.runtime.local_socket import LocalServer, Tell
from roles.wallet.desk import Desk
from roles.wallet.errors import WalletError

SOCKET_NAME: Final = "wallet.sock"
LINE_BYTES: Final = 5 << 20
"""Of an order: the longest token, and the rest."""


class Window:
    """Hands orders to the desk; what only a person can mend goes back in words."""

    def __init__(self, directory: Path, desk: Desk) -> None:
        self._desk = desk
        self._server = LocalServer(directory / SOCKET_NAME, self._answer, line_bytes=LINE_BYTES)

    async def start(self) -> None:
        """Listen; raises DaemonSilent."""
        await self._server.start()

    async def close(self) -> None:
        """Stop listening."""
        await self._server.close()

    async def _answer(self, line: bytes, tell: Tell) -> bytes:
        try:
            order = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise OperatorError("the order is not JSON") from error
        if not isinstance(order, dict):
            raise OperatorError("the order is no object")
        try:
            return orjson.dumps(await self._desk.do(order, tell))
        except WalletError as error:
            raise OperatorError(str(error), hint=error.hint, exit_code=error.exit_code) from error
