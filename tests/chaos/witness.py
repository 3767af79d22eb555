"""A scripted SV1 miner that remembers each share by its hash, and which of them were acknowledged."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from struct import Struct
from types import TracebackType
from typing import Any, Final, Self

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.target import from_difficulty
from protocols.sv1.notifications import read_notify
from roles.cpu_miner.hashing import scan
from roles.cpu_miner.work import Piece, Work, pieces

SUBSCRIBE, AUTHORIZE, FIRST_SUBMIT = 1, 2, 10
SLICE: Final = 4_000
PAUSE_S: Final = 0.2
PATIENCE_S: Final = 10.0
_NONCE = Struct("<I")


class Witness:
    """Mines at a translator's port, through every loss of the connection, while its context lasts."""

    def __init__(self, port: int, *, hashes_per_s: int) -> None:
        self.acknowledged: set[bytes] = set()
        """Hashes of the shares that were answered with success; raw, internal order."""
        self.refused: dict[str, int] = {}
        self.unanswered = 0
        self.connections = 0
        self._port = port
        self._slice_s = SLICE / hashes_per_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S) as line:
                    _Session(self, line, self._slice_s).mine(self._stopping)
            except OSError:
                self._stopping.wait(PAUSE_S)


class _Session:
    """One connection."""

    def __init__(self, witness: Witness, line: socket.socket, slice_s: float) -> None:
        self._witness = witness
        self._line = line
        self._slice_s = slice_s
        self._rest = b""
        self._extranonce1 = b""
        self._size = 0
        self._difficulty = Fraction(1)
        self._pieces: Iterator[Piece] = iter(())
        self._piece: Piece | None = None
        self._nonce = 0
        self._due: dict[int, bytes] = {}
        self._number = FIRST_SUBMIT

    def mine(self, stopping: threading.Event) -> None:
        """Mine until the connection is lost (OSError), or until told to stop and all answers are there."""
        self._witness.connections += 1
        self._say(SUBSCRIBE, "mining.subscribe", ["witness/1"])
        self._say(AUTHORIZE, "mining.authorize", ["witness", "x"])
        deadline = float("inf")
        try:
            while time.monotonic() < deadline:
                if not stopping.is_set():
                    self._search()
                elif not self._due:
                    return
                else:
                    deadline = min(deadline, time.monotonic() + PATIENCE_S)
                self._listen()
        finally:
            self._witness.unanswered += len(self._due)

    def _say(self, number: int, method: str, params: list[Any]) -> None:
        self._line.sendall(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")

    def _listen(self) -> None:
        self._line.settimeout(self._slice_s)
        try:
            data = self._line.recv(1 << 16)
        except TimeoutError:
            return
        finally:
            self._line.settimeout(PATIENCE_S)
        if not data:
            raise ConnectionResetError
        *lines, self._rest = (self._rest + data).split(b"\n")
        for each in lines:
            self._hear(json.loads(each))

    def _hear(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "mining.notify":
                self._begin(message["params"])
            case "mining.set_difficulty":
                self._difficulty = Fraction(message["params"][0])
            case None:
                self._settle(message)

    def _settle(self, answer: dict[str, Any]) -> None:
        number = answer["id"]
        if number == SUBSCRIBE:
            self._extranonce1, self._size = bytes.fromhex(answer["result"][1]), answer["result"][2]
        elif number in self._due:
            share_hash = self._due.pop(number)
            if answer["result"] is True:
                self._witness.acknowledged.add(share_hash)
            else:
                reason = str(answer["error"][1])
                self._witness.refused[reason] = self._witness.refused.get(reason, 0) + 1

    def _begin(self, params: list[Any]) -> None:
        job = read_notify(params)
        work = Work(
            job_id=job.job_id,
            previous=job.previous,
            version=job.version,
            bits=job.bits,
            ntime=job.ntime,
            target=from_difficulty(self._difficulty),
            mask=0,
            coinbase1=job.coinbase1 + self._extranonce1,
            coinbase2=job.coinbase2,
            merkle_path=job.branches,
            extranonce_size=self._size,
        )
        self._pieces = pieces(work)
        self._piece, self._nonce = next(self._pieces), 0

    def _search(self) -> None:
        piece = self._piece
        if piece is None:
            return
        for nonce in scan(piece.head, piece.work.target, self._nonce, self._nonce + SLICE):
            self._due[self._number] = sha256d(piece.head + _NONCE.pack(nonce))
            params = [piece.extranonce.hex(), f"{piece.ntime:08x}", f"{nonce:08x}"]
            self._say(self._number, "mining.submit", ["witness", piece.work.job_id, *params])
            self._number += 1
        self._nonce += SLICE
