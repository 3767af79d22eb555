"""An SV1 share against its work: what header it means, and whether it is worth sending on."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.plain_submit import PlainSubmit, read_plain_submit
from protocols.sv1.requests import Submit
from protocols.translation.extranonce import Layout
from protocols.translation.version_mask import rolled_versions
from protocols.translation.work import Work

MAX_AHEAD = 7200
"""Seconds that a header's time may be ahead of the clock."""


class JudgedShare(NamedTuple):
    """A share that its miner is owed an answer for: header version, hash (internal order), the extranonce to
    submit upstream, and the header itself, 80 bytes.

    `forward` is False for a share that meets the miner's own target only; upstream would refuse it.
    """

    version: int
    share_hash: bytes
    extranonce: bytes
    forward: bool
    header: bytes


def judge(
    share: Submit,
    work: Work,
    *,
    layout: Layout,
    extranonce1: bytes,
    mask: int,
    miner_target: int,
    now: int,
) -> JudgedShare:
    """Check sizes, times and the hash; raises Rejection with what to tell the miner.

    `mask` is what the miner was granted, `miner_target` the easiest hash that it was told to send (never
    below the work's), `now` unix seconds. Repetitions are the caller's to find.
    """
    if len(share.extranonce2) != layout.extranonce2_size:
        raise Rejection(ErrorCode.OTHER, "Wrong extranonce2 size")
    if not work.tip.min_ntime <= share.ntime <= now + MAX_AHEAD:
        raise Rejection(ErrorCode.OTHER, "Ntime out of range")
    prove, extranonce = work.pattern.prover.prove, work.end + extranonce1 + share.extranonce2
    versions = rolled_versions(work.version, mask, share.version_bits, rollable=work.rollable)
    proofs = [(*prove(extranonce, version, share.ntime, share.nonce), version) for version in versions]
    header, lowest, version = min(proofs, key=lambda proof: int.from_bytes(proof[1], "little"))
    number = int.from_bytes(lowest, "little")
    if number > max(work.target, miner_target):
        if share.version_bits & ~(work.rollable | work.version):
            # The miner may well have found a hash, of a version that nobody takes.
            raise Rejection(ErrorCode.OTHER, "Invalid version bits")
        raise Rejection(ErrorCode.LOW_DIFFICULTY, "Above target")
    extranonce = work.padding + extranonce1 + share.extranonce2
    return JudgedShare(version, lowest, extranonce, number <= work.target, header)


def judge_plain(
    share: PlainSubmit, work: Work, *, extranonce1: bytes, mask: int, now: int
) -> JudgedShare | None:
    """The same for a share that nothing is unusual about, and that upstream is to have; None for others."""
    bits, draft = share.version_bits, work.pattern.draft
    # All readings of version bits agree then.
    if draft.version & mask or bits & ~(mask & draft.rollable):
        return None
    if not work.pattern.tip.min_ntime <= share.ntime <= now:
        return None
    version, rolled = draft.version | bits, extranonce1 + share.extranonce2
    header, share_hash = work.pattern.prover.prove(work.end + rolled, version, share.ntime, share.nonce)
    if int.from_bytes(share_hash, "little") > work.target:
        return None
    # Its own constructor takes three times as long.
    return tuple.__new__(JudgedShare, (version, share_hash, work.padding + rolled, True, header))


Find = Callable[
    [bytes, Mapping[str, Any], tuple[bytes, int], int, int], tuple[PlainSubmit, JudgedShare, Any] | None
]
"""As `find_plain`; the native kernel has another form of the same, which may give more shares up."""


def find_plain(
    line: bytes, jobs: Mapping[str, Any], own: tuple[bytes, int], mask: int, now: int, /
) -> tuple[PlainSubmit, JudgedShare, Any] | None:
    """The share in a line that nothing is unusual about, as `judge_plain` has it, and its job; None for
    others.

    `jobs` are those that count, by their SV1 ids, each with its `work`; `own` are the miner's extranonce1 and
    the size of its extranonce2.
    """
    extranonce1, extranonce2_size = own
    submit = read_plain_submit(line, extranonce2_size)
    job = None if submit is None else jobs.get(submit.job_id)
    if submit is None or job is None:
        return None
    share = judge_plain(submit, job.work, extranonce1=extranonce1, mask=mask, now=now)
    return None if share is None else (submit, share, job)
