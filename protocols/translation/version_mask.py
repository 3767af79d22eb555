"""Version rolling between BIP310 (SV1) and BIP323 (SV2)."""

SV1_MASK = 0x1FFFE000
"""What SV1 hardware rolls (BIP320); its drivers shift by 13 bits, so the wider BIP323 mask is not for it."""


def granted_mask(asked: int, job_version: int, *, rollable: int, offered: int = SV1_MASK) -> int:
    """The bits that a miner may roll on a job, of which upstream lets those in `rollable` be rolled.

    Without the job's own bits: servers and firmware combine version and rolled bits by OR, by XOR or by
    BIP310, and these agree only where the job's version is 0.
    """
    return asked & offered & rollable & ~job_version


def rolled_versions(job_version: int, mask: int, bits: int, *, rollable: int) -> tuple[int, ...]:
    """The header versions that a miner may have meant by `bits`, the likeliest first, none that upstream
    forbids.
    """
    mask &= rollable
    readings = ((job_version & ~mask) | (bits & mask), job_version | bits, job_version ^ bits)
    return tuple(
        version for version in dict.fromkeys(readings) if not (version ^ job_version) & ~rollable & 0xFFFFFFFF
    )
