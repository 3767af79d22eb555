"""SV2's error codes as the few texts that SV1 firmware counts by."""

from protocols.sv1.errors import ErrorCode, Rejection

STALE = (ErrorCode.JOB_NOT_FOUND, "Stale")
UNKNOWN_JOB = (ErrorCode.JOB_NOT_FOUND, "Job not found")
DUPLICATE = (ErrorCode.DUPLICATE, "Duplicate share")
LOW = (ErrorCode.LOW_DIFFICULTY, "Above target")
NO_VERDICT = (ErrorCode.OTHER, "No verdict from pool")

_KNOWN = {
    "stale-share": STALE,
    "invalid-job-id": UNKNOWN_JOB,
    "duplicate-share": DUPLICATE,
    "difficulty-too-low": LOW,
    "bad-extranonce-size": (ErrorCode.OTHER, "Wrong extranonce2 size"),
    "invalid-share": (ErrorCode.OTHER, "Ntime out of range"),
    "version-rolling-not-allowed": (ErrorCode.OTHER, "Invalid version bits"),
    "invalid-non-rollable-version-bit": (ErrorCode.OTHER, "Invalid version bits"),
}
_TEXT = 64


def rejection(code: str) -> Rejection:
    """What a miner hears when its share was refused upstream with an SV2 error code."""
    known = _KNOWN.get(code)
    if known is None:
        text = "".join(c if c.isprintable() else "?" for c in code[:_TEXT])
        return Rejection(ErrorCode.OTHER, text or "Rejected")
    return Rejection(*known)
