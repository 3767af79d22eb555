"""Version rolling between BIP310 (SV1) and BIP323 (SV2)."""

from protocols.bitcoin.header import ROLLABLE_VERSION_BITS

SV1_MASK = 0x1FFFE000
"""What SV1 hardware rolls (BIP320); its drivers shift by 13 bits, so the wider BIP323 mask is not for it."""


def granted_mask(asked: int, job_version: int, *, rolling_allowed: bool, offered: int = SV1_MASK) -> int:
    """The bits that a miner may roll on a job.

    Without the job's own bits: servers and firmware combine version and rolled bits by OR, by XOR or by
    BIP310, and these agree only where the job's version is 0.
    """
    return asked & offered & ROLLABLE_VERSION_BITS & ~job_version if rolling_allowed else 0


def rolled_versions(job_version: int, mask: int, bits: int, *, rolling_allowed: bool) -> tuple[int, ...]:
    """The header versions that a miner may have meant by `bits`, the likeliest first, none that upstream
    forbids.
    """
    if not rolling_allowed:
        return (job_version,)
    mask &= ROLLABLE_VERSION_BITS
    readings = ((job_version & ~mask) | (bits & mask), job_version | bits, job_version ^ bits)
    return tuple(
        version
        for version in dict.fromkeys(readings)
        if not (version ^ job_version) & ~ROLLABLE_VERSION_BITS & 0xFFFFFFFF
    )
