"""SV2's error codes as the few texts that SV1 firmware counts by, and what SV1 pools say as such codes."""

from typing import Final

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


_BY_NUMBER: Final[dict[int, str]] = {
    ErrorCode.DUPLICATE: "duplicate-share",
    ErrorCode.LOW_DIFFICULTY: "difficulty-too-low",
    ErrorCode.JOB_NOT_FOUND: "stale-share",
}
_BY_TEXT: Final = (
    ("duplicate", "duplicate-share"),
    ("above target", "difficulty-too-low"),
    ("difficulty", "difficulty-too-low"),
    ("high-hash", "difficulty-too-low"),
    ("stale", "stale-share"),
    ("prevblk", "stale-share"),
    ("job", "invalid-job-id"),
    ("unknown-work", "invalid-job-id"),
    ("version", "version-rolling-not-allowed"),
    ("ntime", "invalid-share"),
    ("time-too", "invalid-share"),
)


def code_of(refusal: Rejection) -> str:
    """The SV2 error code of what an SV1 pool says of a share, and its own text where there is none."""
    text = refusal.text.lower()
    for sign, code in _BY_TEXT:
        if sign in text:
            return code
    return _BY_NUMBER.get(refusal.code, refusal.text)


def is_known(code: str) -> bool:
    """Whether a code is one of a few, so that it may be counted by."""
    return code in _KNOWN
