"""How a file of resumable channels is laid out: a head, pages with templates, and slots of 512 bytes.

A slot holds a channel or a session, which is what the channels of one connection have in common: the jobs
that went to the group. Little-endian throughout; what is empty is zero. Every field is written in one piece
inside one page of memory, so that no death of the process leaves half of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.ehash.resume_token import DIGEST_SIZE
from protocols.mining.extranonce import PREFIX_SIZE
from protocols.mining.job import Template, Tip

PAGE: Final = 4096
SLOT: Final = 512
TEMPLATES: Final = 64
"""Pages of templates of our own, and as many of templates that came with channels of other processes."""
IMPORTED: Final = 1 << 31
"""Numbers of the latter begin here."""
SLOTS_AT: Final = PAGE * (1 + 2 * TEMPLATES)
FORMAT: Final = b"hpresum1"

HEAD = Struct("<8s8s36s")
"""Format, the recipe of our coinbases, and the machine's boot id: what outlives a process dies with it."""
BEAT = Struct("<Q")
BEAT_AT: Final = 64

SESSION = Struct("<IQ")
"""A number that tells tenants of the slot apart, and when it ended in Unix seconds, 0 while it lives."""
SESSION_JOBS: Final = 32
CHANNEL = Struct(f"<BB{PREFIX_SIZE}s{DIGEST_SIZE}sIII")
"""State, kind, prefix, digest of token and key, slot and number of the session, channel id."""
TARGET = Struct("<I32s")
"""The revision from which on it holds, plus one, and the target."""
TARGETS: Final = 5
TARGETS_AT: Final = CHANNEL.size
JOB = Struct("<III")
"""Job id, number of the template, revision."""
JOBS: Final = 16
JOBS_AT: Final = TARGETS_AT + TARGETS * TARGET.size

HELD: Final = 1
TAKEN: Final = 2

_TEMPLATE = Struct("<HIQ32sI32sQIIQIIIBHI")
"""Size of all of it, number, template id; previous hash, nbits, block target, time received, least time of
the tip; version; value, version, sequence, locktime of the coinbase, sizes of its script and outputs, and how
many outputs. Script, outputs and merkle path follow."""


class JobRecord(NamedTuple):
    """Work that was sent under an id: which template, for which revision."""

    job_id: int
    template: int
    revision: int


class TargetRecord(NamedTuple):
    """A target, and the revision from which on it holds."""

    since: int
    target: int


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel as it was recorded; targets and jobs in their order."""

    state: int
    is_extended: bool
    prefix: bytes
    digest: bytes
    session: int
    session_number: int
    channel_id: int
    targets: tuple[TargetRecord, ...]
    jobs: tuple[JobRecord, ...]

    def pack(self) -> bytes:
        """A whole slot, with the newest of what does not fit."""
        head = CHANNEL.pack(
            self.state,
            self.is_extended,
            self.prefix,
            self.digest,
            self.session,
            self.session_number,
            self.channel_id,
        )
        targets = b"".join([pack_target(*each) for each in self.targets[-TARGETS:]])
        jobs = b"".join([JOB.pack(*each) for each in self.jobs[-JOBS:]])
        return (head + targets.ljust(TARGETS * TARGET.size, b"\0") + jobs).ljust(SLOT, b"\0")

    @classmethod
    def unpack(cls, slot: bytes) -> "ChannelState":
        """The same again."""
        state, kind, prefix, digest, session, number, channel_id = CHANNEL.unpack_from(slot)
        found = TARGET.iter_unpack(slot[TARGETS_AT:JOBS_AT])
        targets = sorted(
            TargetRecord(mark - 1, int.from_bytes(target, "little")) for mark, target in found if mark
        )
        jobs = unpack_jobs(slot[JOBS_AT : JOBS_AT + JOBS * JOB.size])
        return cls(state, bool(kind), prefix, digest, session, number, channel_id, tuple(targets), jobs)


def pack_target(since: int, target: int) -> bytes:
    """A target as it is recorded."""
    return TARGET.pack(since + 1, target.to_bytes(32, "little"))


def unpack_jobs(data: bytes) -> tuple[JobRecord, ...]:
    """Jobs by id."""
    return tuple(sorted(JobRecord(*each) for each in JOB.iter_unpack(data) if each[0]))


def session_jobs(slot: bytes) -> tuple[JobRecord, ...]:
    """The jobs that went to a session's group, by id."""
    return unpack_jobs(slot[SESSION.size : SESSION.size + SESSION_JOBS * JOB.size])


def pack_template(template: Template, tip: Tip, number: int, template_id: int) -> bytes | None:
    """A template with its tip, None where it is too long for a page."""
    coinbase = template.coinbase
    variable = coinbase.script_prefix + coinbase.outputs + b"".join(template.merkle_path)
    size = _TEMPLATE.size + len(variable)
    if size > PAGE:
        return None
    head = _TEMPLATE.pack(
        size,
        number,
        template_id,
        tip.previous,
        tip.bits,
        tip.block_target.to_bytes(32, "little"),
        tip.received,
        tip.min_ntime,
        template.version,
        coinbase.value,
        coinbase.version,
        coinbase.sequence,
        coinbase.locktime,
        len(coinbase.script_prefix),
        len(coinbase.outputs),
        coinbase.outputs_count,
    )
    return head + variable


def renumber(template: bytes, number: int) -> bytes:
    """A packed template under another number."""
    return template[:2] + number.to_bytes(4, "little") + template[6:]


def number_of(template: bytes) -> int:
    """The number of a packed template."""
    number: int = _SIZED.unpack_from(template)[1]
    return number


def read_template(page: bytes, number: int) -> bytes | None:
    """The packed template of a page, None unless it has this number."""
    size, found = _SIZED.unpack_from(page)
    return page[:size] if found == number and _TEMPLATE.size <= size <= len(page) else None


def split(templates: bytes) -> Iterator[bytes]:
    """Packed templates that stand one behind the other."""
    at = 0
    while at < len(templates):
        size = max(_SIZED.unpack_from(templates, at)[0], _SIZED.size)
        yield templates[at : at + size]
        at += size


def unpack_template(data: bytes) -> tuple[Template, Tip]:
    """The same again; its origin is of no link of ours."""
    (
        _, _, template_id, previous, bits, block_target, received, min_ntime, version,
        value, coinbase_version, sequence, locktime, script, outputs, count,
    ) = _TEMPLATE.unpack_from(data)  # fmt: skip
    outputs_at = _TEMPLATE.size + script
    path_at = outputs_at + outputs
    coinbase = CoinbaseTemplate(
        version=coinbase_version,
        script_prefix=data[_TEMPLATE.size : outputs_at],
        sequence=sequence,
        value=value,
        outputs_count=count,
        outputs=data[outputs_at:path_at],
        locktime=locktime,
    )
    path = tuple(data[at : at + 32] for at in range(path_at, len(data), 32))
    tip = Tip(previous, min_ntime, bits, int.from_bytes(block_target, "little"), received)
    return Template((0, template_id), version, coinbase, path), tip


_SIZED = Struct("<HI")
