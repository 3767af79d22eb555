"""Questions to a running daemon from its own machine, over a socket in its state directory.

The socket has mode 0600 in a directory of mode 0700, so whoever reaches it is the daemon's own user, or root:
no other proof is asked for. One line of JSON goes in, one comes back: ``{"answer": …}`` or ``{"error": …,
"hint": …, "exit_code": …}``; before it come lines ``{"told": …}`` with the progress of what takes long.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from roles.runtime import sysexits
from roles.runtime.errors import DaemonRefused, DaemonSilent, OperatorError, StorageError

Tell = Callable[[str], None]
"""Hears of progress in words; raises ConnectionError when nobody listens any more."""
Answer = Callable[[bytes, Tell], Awaitable[bytes]]

_LINE_LIMIT: Final = 64 * 1024
_CONNECTIONS: Final = 8
_ASK_S: Final = 10.0
_PATH_LIMIT: Final = 100
"""Bytes that the path of a socket may have, a little below what systems take (104 or 108 with the end)."""

logger = logging.getLogger(__name__)


class LocalServer:
    """Answers on a socket file until it is closed; ``answer`` gives JSON for a line, or raises.

    A question has at most ``line_bytes``.
    """

    def __init__(self, path: Path, answer: Answer, *, line_bytes: int = _LINE_LIMIT) -> None:
        self.path = path
        self._answer = answer
        self._line_bytes = line_bytes
        self._open = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> bool:
        """Listen; False when another process answers there already. Raises DaemonSilent if it cannot be."""
        try:
            with _alone(self.path.parent):
                listener = None if _answers(self.path) else _listen(self.path)
        except OSError as error:
            raise DaemonSilent(f"{self.path} cannot be a socket: {error}") from error
        if listener is None:
            return False
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=self._line_bytes)
        return True

    async def close(self) -> None:
        """Stop answering and remove the file."""
        if self._server is not None:
            self._server.close()
            self._server = None
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _CONNECTIONS:
                async with asyncio.timeout(_ASK_S):
                    line = await reader.readline()
                if line:
                    writer.write(await self._reply(line, partial(_tell, writer)) + b"\n")
                    async with asyncio.timeout(_ASK_S):
                        await writer.drain()
        except (OSError, TimeoutError, ValueError):
            logger.debug("a local question broke off")
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _reply(self, line: bytes, tell: Tell) -> bytes:
        try:
            return b'{"answer": ' + await self._answer(line, tell) + b"}"
        except OperatorError as error:
            own = None if error.exit_code == OperatorError.exit_code else error.exit_code
            return _told(error.text, error.hint, own)
        except ConnectionError:
            raise
        except StorageError as error:
            return _told(f"the store failed: {error}", "see /ready and the log for what is wrong with it")
        except Exception:
            logger.exception("a local question failed")
            return _told("the daemon failed at this", "its log says why")


def ask(path: Path, question: object, *, timeout_s: float | None = 60.0, tell: Tell = lambda _: None) -> Any:
    """The answer of the daemon that listens at a path; ``timeout_s`` is for each word of it.

    Raises DaemonSilent when none does, or it does not answer in time, DaemonRefused when it will not.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(timeout_s)
            with _reachable(path) as name:
                peer.connect(name)
            peer.sendall(json.dumps(question).encode() + b"\n")
            reply = _hear(peer, tell)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise DaemonSilent(
            f"nobody answers at {path}", hint="start the daemon, or name its state directory with --state"
        ) from error
    except (OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise DaemonSilent(f"the daemon at {path} did not answer: {reason}") from error
    if "error" in reply:
        raise DaemonRefused(
            str(reply["error"]), hint=str(reply.get("hint", "")), exit_code=reply.get("exit_code")
        )
    return reply["answer"]


def _hear(peer: socket.socket, tell: Tell) -> Any:
    with peer.makefile("rb") as lines:
        for line in lines:
            reply = json.loads(line)
            if "told" not in reply:
                return reply
            tell(str(reply["told"]))
    raise ValueError("it hung up")


def _tell(writer: asyncio.StreamWriter, text: str) -> None:
    if writer.transport.is_closing():
        raise ConnectionResetError("nobody listens")
    writer.write(json.dumps({"told": text}).encode() + b"\n")


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two processes that begin at once would take each other's new socket for one that was left behind."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with _reachable(path) as name:
            listener.bind(name)
        # Nobody can connect before `listen`.
        path.chmod(0o600)
        listener.listen(_CONNECTIONS)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.settimeout(1.0)
        with _reachable(path) as name:
            probe.connect(name)
        return True
    return False


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name of the path that is short enough for a socket: where it is too long, by its open directory."""
    if len(os.fsencode(path)) <= _PATH_LIMIT or not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _told(text: str, hint: str, exit_code: int | None = sysexits.SOFTWARE) -> bytes:
    return json.dumps({"error": text, "hint": hint, "exit_code": exit_code}).encode()
