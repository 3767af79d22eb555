"""What it takes to spend a P2PK (NUT-11) or HTLC (NUT-14) secret, read from its tags.

There are two paths, never mixed: the keys of the lock, open always, and the refund keys, open after the
locktime; after the locktime without refund keys anybody may spend. A condition that is malformed can never be
spent: SignatureError.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from protocols.cashu.errors import MalformedError, SignatureError
from protocols.cashu.fields import as_bytes, as_point
from protocols.cashu.nut10 import ConditionSecret

Kind = Literal["P2PK", "HTLC"]
KEY_SLOTS = 11
_TAGS = frozenset({"sigflag", "pubkeys", "n_sigs", "locktime", "refund", "n_sigs_refund"})


@dataclass(frozen=True, slots=True)
class Path:
    """One way to spend: `required` signatures of distinct keys (33 bytes, of which x counts)."""

    keys: tuple[bytes, ...]
    required: int


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; `locktime` in Unix seconds or None for a permanent lock, `preimage_hash` for HTLC
    only.
    """

    lock: Path
    refund: Path
    locktime: int | None
    sig_all: bool
    preimage_hash: bytes | None

    def is_open(self, now: float) -> bool:
        """Whether the locktime has passed."""
        return self.locktime is not None and now > self.locktime

    def is_free(self, now: float) -> bool:
        """Whether anybody may spend, because the locktime has passed and there are no refund keys."""
        return self.is_open(now) and not self.refund.keys

    @property
    def first_slot(self) -> int:
        """The slot of the first key among those of NUT-28: the hash of an HTLC takes slot 0."""
        return 0 if self.preimage_hash is None else 1

    @classmethod
    def parse(cls, secret: ConditionSecret) -> "Condition | None":
        """The condition of a P2PK or HTLC secret, None for other kinds; raises SignatureError when it is
        malformed.
        """
        if secret.kind not in get_args(Kind):
            return None
        try:
            return cls._parse(secret)
        except MalformedError as error:
            raise SignatureError(f"the spending condition is malformed: {error.detail}") from None

    @classmethod
    def _parse(cls, secret: ConditionSecret) -> "Condition":
        tags = _known_tags(secret.tags)
        pubkeys, refund = tags.get("pubkeys", ()), tags.get("refund", ())
        preimage_hash = None
        if secret.kind == "HTLC":
            preimage_hash = as_bytes(secret.data, "the hash", 32)
            lock = _path(pubkeys, tags.get("n_sigs"))
        else:
            lock = _path((secret.data, *pubkeys), tags.get("n_sigs"))
        refund_path = _path(refund, tags.get("n_sigs_refund"))
        if len(pubkeys) + len(refund) + 1 > KEY_SLOTS:
            raise MalformedError(f"more than {KEY_SLOTS} keys")
        return cls(
            lock,
            refund_path,
            # Wallets take 0 for no time at all: what they believe locked for good must not be free for all.
            _number(tags.get("locktime", ())) or None,
            _sig_all(tags.get("sigflag")),
            preimage_hash,
        )


def _known_tags(tags: Sequence[tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    for name, *values in tags:
        if name not in _TAGS:
            continue
        if name in known:
            raise MalformedError(f"tag {name} twice")
        known[name] = tuple(values)
    return known


def _path(keys: Sequence[str], required: tuple[str, ...] | None) -> Path:
    points = tuple(as_point(key, "a key") for key in keys)
    if len({point[1:] for point in points}) != len(points):
        raise MalformedError("a key twice")
    if required is None:
        return Path(points, min(1, len(points)))
    count = _number(required)
    if count is None or not 1 <= count <= len(points):
        raise MalformedError("the number of signatures is not from 1 to the number of keys")
    return Path(points, count)


def _sig_all(values: tuple[str, ...] | None) -> bool:
    if values not in {None, ("SIG_INPUTS",), ("SIG_ALL",)}:
        raise MalformedError("unknown sigflag")
    return values == ("SIG_ALL",)


def _number(values: tuple[str, ...]) -> int | None:
    if len(values) != 1 or len(values[0]) > 20 or not (values[0].isascii() and values[0].isdecimal()):
        return None
    return int(values[0])
