"""Many miners in one process that costs little: each connection opens one channel and waits for work.

Run as `python -m benchmarks.crowd HOST PORT AUTHORITY`. A line of JSON on stdin is an order, a line on stdout
its answer. What comes is timed by the kernel, which notes when it arrived at the socket; it is read and
deciphered afterwards, so that the pool has the machine for itself meanwhile, as it has where miners are far.
"""

import json
import resource
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from struct import Struct
from typing import Final, TypeVar

from protocols.bitcoin.target import MAX_TARGET
from protocols.noise.handshake import ACT2_SIZE, Initiator
from protocols.noise.symmetric import MAC_SIZE
from protocols.noise.transport import SEALED_HEADER_SIZE, Transport
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING, VERSION, SetupConnection, SetupConnectionSuccess
from protocols.sv2.frame import frame_from
from protocols.sv2.layout import Message
from protocols.sv2.mining import NewExtendedMiningJob, OpenExtendedMiningChannel, SetNewPrevHash
from roles.runtime.noise_identity import fresh_secret

BATCH: Final = 32
"""Connections, or channels, that are opened side by side."""
PER_HOST: Final = 100
"""Connections from one loopback address, which has some 28,000 ports and a pool that counts them."""
HOSTS: Final = 20
"""Addresses of one /24."""
ANSWER_S: Final = 30.0
SETTLE_S: Final = 1.0
"""How long what comes is left to the kernel."""
HASHRATE: Final = 0.0
"""Not known: the target is the easiest from the start, and no silence makes it easier."""
SO_TIMESTAMPNS: Final = 35

T = TypeVar("T")

_SETUP = SetupConnection(PROTOCOL_MINING, VERSION, VERSION, 0, "", 0, "benchmark", "", "", "")
_STAMP = Struct("@ll")
_ROOM = socket.CMSG_SPACE(_STAMP.size)


@dataclass(slots=True)
class Peer:
    """One connection."""

    sock: socket.socket
    initiator: Initiator
    noise: Transport | None = None
    arrived: float = 0.0
    """When the last bytes that were read had come, by the kernel's clock: Unix seconds."""
    expected: int = SEALED_HEADER_SIZE
    """Bytes that come next: frames are read one by one, so that each has a time of its own."""

    def say(self, message: Message) -> None:
        """Send a message."""
        assert self.noise is not None
        frame = encode(message)
        self.sock.sendall(self.noise.send(frame.header(), frame.payload))

    def hear(self, *kinds: type[Message]) -> list[Message]:
        """Read until a message of each kind has come; raises TimeoutError and ConnectionError."""
        assert self.noise is not None
        heard: list[Message] = []
        missing = set(kinds)
        while missing:
            data = self._read(self.expected)
            self.expected -= len(data)
            for header, payload in self.noise.receive(data):
                self.expected = SEALED_HEADER_SIZE
                message, _ = MINING.decode(frame_from(header, payload))
                heard.append(message)
                missing.discard(type(message))
        return heard

    def shake_hands(self) -> None:
        """Take the pool's act; raises NoiseError."""
        act = b""
        while len(act) < ACT2_SIZE:
            act += self._read(ACT2_SIZE - len(act))
        self.noise = Transport(self.initiator.receive(act, int(time.time())), self._announced)

    def _announced(self, header: bytes) -> None:
        """A frame is no larger than one chunk here."""
        self.expected = int.from_bytes(header[3:], "little") + MAC_SIZE

    def _read(self, size: int) -> bytes:
        data, notes, _, _ = self.sock.recvmsg(size, _ROOM)
        if not data:
            raise ConnectionError("the pool closed the connection")
        for level, kind, note in notes:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = _STAMP.unpack(note)
                self.arrived = seconds + nanoseconds / 1e9
        return data


class Crowd:
    """The connections, made and used in order."""

    def __init__(self, host: str, port: int, authority: bytes) -> None:
        self._where = (host, port)
        self._authority = authority
        self._peers: list[Peer] = []
        self._number = count()

    def connect(self, peers: int) -> dict[str, float]:
        """So many more connections, set up."""
        for batch in batches(range(peers)):
            fresh = [self._dial() for _ in batch]
            for peer in fresh:
                peer.shake_hands()
                peer.say(_SETUP)
            for peer in fresh:
                peer.hear(SetupConnectionSuccess)
            self._peers += fresh
        return {}

    def open(self, _: int) -> dict[str, float]:
        """A channel on each, with its first work."""
        for batch in batches(self._peers):
            for number, peer in enumerate(batch):
                peer.say(OpenExtendedMiningChannel(1, f"bench.{number}", HASHRATE, MAX_TARGET, 8))
            for peer in batch:
                peer.hear(NewExtendedMiningJob, SetNewPrevHash)
        return {}

    def wait(self, _: int) -> dict[str, float]:
        """Hear of one new block on each: when the last of them, and half of them, had its work."""
        time.sleep(SETTLE_S)
        arrived = []
        tips = set()
        for peer in self._peers:
            heard = peer.hear(NewExtendedMiningJob, SetNewPrevHash)
            arrived.append(peer.arrived)
            tips |= {message.prev_hash for message in heard if isinstance(message, SetNewPrevHash)}
        if len(tips) != 1:
            raise ValueError(f"{len(tips)} tips came at once")
        arrived.sort()
        return {"first": arrived[0], "half": arrived[len(arrived) // 2], "last": arrived[-1]}

    def _dial(self) -> Peer:
        place = next(self._number) // PER_HOST
        sock = socket.socket()
        sock.settimeout(ANSWER_S)
        sock.bind((f"127.1.{place // HOSTS}.{place % HOSTS + 1}", 0))
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(self._where)
        initiator = Initiator(
            ephemeral_secret=fresh_secret(), ephemeral_aux=secrets.token_bytes(32), authority=self._authority
        )
        sock.sendall(initiator.start())
        return Peer(sock, initiator)


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts of at most so many as are opened side by side."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def main(host: str, port: str, authority: str) -> None:
    """Do as told until stdin ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(host, int(port), bytes.fromhex(authority))
    orders = {"connect": crowd.connect, "open": crowd.open, "wait": crowd.wait}
    for line in sys.stdin:
        order, number = json.loads(line)
        cpu = time.process_time()
        told = orders[order](number)
        print(json.dumps(told | {"cpu_s": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
