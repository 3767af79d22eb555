"""What a server tells a miner: built in exactly the formats that firmware accepts, and read tolerantly.

Byte orders of mining.notify: the previous block hash with each 4-byte word swapped, branches in internal
order, version, nbits and ntime as big-endian hex of the u32.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from protocols.sv1 import fields
from protocols.sv1.errors import MalformedError
from protocols.sv1.messages import notification

__all__ = [
    "Notify",
    "NotifyForm",
    "SetExtranonce",
    "get_version",
    "notify",
    "read_notify",
    "read_set_difficulty",
    "read_set_extranonce",
    "read_set_version_mask",
    "reconnect",
    "set_difficulty",
    "set_extranonce",
    "set_version_mask",
    "show_message",
    "swap_words",
]

_BRANCHES = 64
_EXTRANONCE = 32
_JOB_ID = 64


@dataclass(frozen=True, slots=True)
class Notify:
    """One piece of work; hashes are raw 32 bytes in internal order, numbers host integers.

    `coinbase1` and `coinbase2` are the non-witness coinbase around extranonce1 and extranonce2.
    """

    job_id: str
    previous: bytes
    coinbase1: bytes
    coinbase2: bytes
    branches: tuple[bytes, ...]
    version: int
    bits: int
    ntime: int
    clean: bool


@dataclass(frozen=True, slots=True)
class SetExtranonce:
    """A new extranonce1 and extranonce2 size, in force from the next notify on."""

    extranonce1: bytes
    extranonce2_size: int


def swap_words(hash32: bytes) -> bytes:
    """A 32-byte hash with the bytes of each 4-byte word reversed; its own inverse."""
    return b"".join(hash32[i : i + 4][::-1] for i in range(0, 32, 4))


class NotifyForm:
    """The text of mining.notify for many miners, whose lines differ in job id, time, and the end of the first
    coinbase part; `head` is what stands before it.
    """

    __slots__ = ("_before", "_behind")

    def __init__(
        self,
        previous: bytes,
        head: bytes,
        coinbase2: bytes,
        branches: tuple[bytes, ...],
        *,
        version: int,
        bits: int,
    ) -> None:
        path = ",".join(f'"{branch.hex()}"' for branch in branches)
        self._before = f'","{swap_words(previous).hex()}","{head.hex()}'
        self._behind = f'","{coinbase2.hex()}",[{path}],"{version:08x}","{bits:08x}","'

    def line(self, job_id: str, end: bytes, ntime: int, *, clean: bool) -> bytes:
        """One miner's line: a string job id, 64 hex digits per hash, 8 per number."""
        return (
            f'{{"id":null,"method":"mining.notify","params":["{job_id}{self._before}{end.hex()}{self._behind}'
            f'{ntime:08x}",{"true" if clean else "false"}]}}\n'
        ).encode()


def notify(job: Notify) -> bytes:
    """mining.notify as a line."""
    form = NotifyForm(
        job.previous, job.coinbase1, job.coinbase2, job.branches, version=job.version, bits=job.bits
    )
    return form.line(job.job_id, b"", job.ntime, clean=job.clean)


def read_notify(params: list[Any]) -> Notify:
    """The params of a pool's mining.notify; raises MalformedError."""
    if len(params) < 9:
        raise MalformedError("Notify too short")
    job_id = fields.text(params[0])
    previous, coinbase1, coinbase2 = (fields.hex_bytes(value) for value in params[1:4])
    version, bits, ntime = (fields.u32(value) for value in params[5:8])
    if job_id is None or len(job_id) > _JOB_ID or not _is_plain(job_id):
        raise MalformedError("Notify without a job id")
    if previous is None or len(previous) != 32:
        raise MalformedError("Notify without a previous hash")
    if coinbase1 is None or coinbase2 is None:
        raise MalformedError("Notify without a coinbase")
    if version is None or bits is None or ntime is None:
        raise MalformedError("Notify without version, bits or time")
    return Notify(
        job_id,
        swap_words(previous),
        coinbase1,
        coinbase2,
        _branches(params[4]),
        version,
        bits,
        ntime,
        params[8] is True,
    )


def set_difficulty(difficulty: float) -> bytes:
    """mining.set_difficulty; whole numbers go as integers, because old firmware reads nothing else."""
    return notification(
        "mining.set_difficulty", [int(difficulty) if difficulty == int(difficulty) else difficulty]
    )


def read_set_difficulty(params: list[Any]) -> Fraction:
    """The difficulty in force from the next job on; raises MalformedError."""
    difficulty = fields.difficulty(params[0]) if params else None
    if difficulty is None:
        raise MalformedError("No difficulty")
    return difficulty


def set_version_mask(mask: int) -> bytes:
    """mining.set_version_mask, the bits that may be rolled from now on."""
    return notification("mining.set_version_mask", [f"{mask:08x}"])


def read_set_version_mask(params: list[Any]) -> int:
    """The new mask; raises MalformedError."""
    mask = fields.u32(params[0]) if params else None
    if mask is None:
        raise MalformedError("No version mask")
    return mask


def set_extranonce(extranonce1: bytes, extranonce2_size: int) -> bytes:
    """mining.set_extranonce, only to those that subscribed to it."""
    return notification("mining.set_extranonce", [extranonce1.hex(), extranonce2_size])


def read_set_extranonce(params: list[Any]) -> SetExtranonce:
    """A pool's new extranonce1 and extranonce2 size, at most 32 bytes together; raises MalformedError."""
    extranonce1 = fields.hex_bytes(params[0]) if params else None
    size = params[1] if len(params) > 1 else None
    if extranonce1 is None or type(size) is not int or size < 0 or len(extranonce1) + size > _EXTRANONCE:
        raise MalformedError("No extranonce")
    return SetExtranonce(extranonce1, size)


def show_message(text: str) -> bytes:
    """client.show_message, a line for the miner's display."""
    return notification("client.show_message", [text])


def reconnect() -> bytes:
    """client.reconnect to where the miner is configured to go."""
    return notification("client.reconnect", [])


def get_version(id: int) -> bytes:
    """client.get_version, the one request that a server makes."""
    return b'{"id":%d,"method":"client.get_version","params":[]}\n' % id


def _is_plain(job_id: str) -> bool:
    """Whether a job id can stand in a line of ours as it is."""
    return job_id.isascii() and job_id.isprintable() and '"' not in job_id and "\\" not in job_id


def _branches(value: object) -> tuple[bytes, ...]:
    branches = [fields.hex_bytes(branch) for branch in value] if isinstance(value, list) else [None]
    if len(branches) > _BRANCHES:
        raise MalformedError("Notify with too many branches")
    whole = tuple(branch for branch in branches if branch is not None and len(branch) == 32)
    if len(whole) != len(branches):
        raise MalformedError("Notify with a bad branch")
    return whole
