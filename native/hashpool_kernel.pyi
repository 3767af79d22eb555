"""The share path's bytes and a mint's curve work in C: what `prover` and `plain_share` of `protocols.mining`,
`protocols.noise.frame_cipher` and `protocols.cashu.signer` describe.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

from protocols.mining.lane import CourseMaker, LaneMaker, LanesMaker
from protocols.sv1.plain_submit import PlainSubmit
from protocols.translation.share import JudgedShare

ABI: Final[int]
SOURCE: Final[str]
SHA256: Final[str]
CHACHA20: Final[str]
IS_FAST: Final[bool]

@final
class Prover:
    def __new__(
        cls, prefix: bytes, suffix: bytes, path: tuple[bytes, ...], previous: bytes, bits: int
    ) -> Prover: ...
    def prove(self, extranonce: bytes, version: int, ntime: int, nonce: int, /) -> tuple[bytes, bytes]: ...
    def prove_root(self, root: bytes, version: int, ntime: int, nonce: int, /) -> tuple[bytes, bytes]: ...
    def root(self, extranonce: bytes, /) -> bytes: ...

@final
class Transport:
    _send_nonce: int
    _receive_nonce: int
    def __new__(
        cls,
        send_key: bytes,
        receive_key: bytes,
        limit: Callable[[bytes], None],
        forged: type[Exception],
        exhausted: type[Exception],
    ) -> Transport: ...
    def send(self, header: bytes, payload: bytes, /) -> bytes: ...
    def send_many(self, frames: Sequence[tuple[bytes, bytes]], /) -> bytes: ...
    def receive(self, data: bytes, /) -> list[tuple[bytes, bytes]]: ...

@final
class Bench:
    def __new__(cls, fields: tuple[Any, ...], /) -> Bench: ...

@final
class Finder:
    def __new__(cls, submit: type[PlainSubmit], share: type[JudgedShare], /) -> Finder: ...
    def find(
        self, line: bytes, jobs: Mapping[str, Any], own: tuple[bytes, int], mask: int, now: int, /
    ) -> tuple[PlainSubmit, JudgedShare, Any] | None: ...

Course: Final[CourseMaker]
Lane: Final[LaneMaker]
Lanes: Final[LanesMaker]

@final
class Seat:
    pending: Final[int]
    heard: Final[float]
    @property
    def oldest(self) -> float | None: ...
    def sums(self) -> tuple[int, float, float, bytes, list[tuple[float, float, int, float]]] | None: ...
    def say(self, lines: bytes, /) -> None: ...
    def leave(
        self,
    ) -> tuple[int, float, float, float, list[tuple[int, float, int, bytes, float, tuple[bytes, bytes]]]]: ...

@final
class Hub:
    def __new__(cls, finder: Finder, headers: tuple[bytes, ...], success: bytes, /) -> Hub: ...
    def __len__(self) -> int: ...
    def fileno(self) -> int: ...
    def clock(self, seconds: float, /) -> int: ...
    def sit(
        self,
        owner: Any,
        unsent: Callable[[], int],
        where: tuple[int, int],
        channel: tuple[int, int, int],
        own: tuple[bytes, int],
        mask: int,
        jobs: tuple[dict[str, Any], dict[bytes, bool], dict[bytes, bool], dict[bytes, None], int],
        account: tuple[float, float, float, float],
        /,
    ) -> Seat: ...
    def look(
        self, now: float, unix_now: int, outlet: Outlet | None, /
    ) -> tuple[list[tuple[bytes, bytes]], list[tuple[Any, bytes]]]: ...
    def settle(
        self, frames: Sequence[tuple[bytes, bytes]], start: int, now: float, /
    ) -> tuple[int, int, float, float, list[float], list[Any]]: ...
    def serve(self, outlet: Outlet | None, tell: Callable[..., None], patience: int, /) -> None: ...
    def tick(self) -> None: ...
    def found(self) -> tuple[int, float, bytes]: ...
    ends: Final[int]
    owes: Final[bool]
    def ended(self) -> list[Any]: ...
    def late(self, before: float, /) -> list[Any]: ...

@final
class Outlet:
    def __new__(
        cls, cipher: Any, socket: int, unsent: Callable[[], int], rest: Callable[[bytes], None], /
    ) -> Outlet: ...
    def close(self) -> None: ...

@final
class Inlet:
    def __new__(
        cls,
        cipher: Any,
        socket: int,
        lanes: Any,
        settles: bool,
        tell: Callable[[int, float, tuple[Any, ...]], None],
        rest: Callable[[list[tuple[bytes, bytes]]], None],
        ended: Callable[[Exception | None], None],
        /,
    ) -> Inlet: ...
    def fileno(self) -> int: ...
    def look(self, clock: int = ..., now: float = ..., /) -> None: ...
    def close(self) -> None: ...

@final
class Signer:
    def __new__(cls, addresses: tuple[int, ...]) -> Signer: ...
    def sign(
        self, jobs: Sequence[tuple[bytes, bytes, bytes]], /
    ) -> list[tuple[bytes, bytes, bytes] | None]: ...
    def verify(self, jobs: Sequence[tuple[bytes, bytes, bytes]], /) -> list[bytes | None]: ...

def judge(
    known: dict[int, Bench],
    frames: Sequence[tuple[bytes, bytes]],
    start: int,
    when: tuple[float, float],
    found: tuple[list[Any], list[Any], list[tuple[int, int]]],
    /,
) -> int: ...
def take(
    cipher: Any,
    data: bytes,
    known: dict[int, Bench],
    when: tuple[float, float],
    found: tuple[list[Any], list[Any], list[tuple[int, int]]],
    /,
) -> list[tuple[bytes, bytes]]: ...
def rows(
    entries: list[Any], tip: bytes, tails: dict[bytes, tuple[int, int, bytes]], /
) -> tuple[list[bytes], bytes] | None: ...
def sha256(engine: str, /, *pieces: bytes) -> bytes: ...
def chacha20(engine: str, key: bytes, place: bytes, /) -> bytes: ...
def poly1305(key: bytes, data: bytes, /) -> bytes: ...
