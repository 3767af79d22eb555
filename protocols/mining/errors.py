"""What a mining server refuses; every code is a text for the wire.

::

    MiningError                         carries `code`
    ├── OpenRefused                     for OpenMiningChannel.Error
    │   ├── UnknownUser
    │   ├── BannedByOperator            a name or key that the operator turns away
    │   ├── InvalidUserIdentity
    │   ├── InvalidNominalHashrate
    │   ├── MaxTargetOutOfRange         the client asks for shares harder than a block, or than any amount
    │   ├── MinExtranonceSizeTooLarge
    │   ├── StandardJobsRequired        an extended channel on a connection that cannot use its jobs
    │   ├── CustomWorkRequired          a standard channel on a connection that wants to bring its own jobs
    │   └── CapacityExhausted           no prefix, or no room for another channel
    ├── UpdateRefused                   for UpdateChannel.Error
    │   ├── UnknownChannel
    │   └── InvalidUpdatedHashrate
    └── ShareRefused                    for SubmitShares.Error
        ├── UnknownShareChannel
        ├── StaleShare                  a job of the previous tip
        ├── UnknownJob
        ├── BadExtranonceSize
        ├── InvalidShare                ntime out of range
        ├── VersionRollingNotAllowed
        ├── InvalidVersionBit           a version bit that miners may not roll
        ├── DifficultyTooLow
        ├── DuplicateShare
        ├── TooManyShares               more than a channel may submit; it was not looked at
        └── NoVerdict               from a proxy only: its own upstream went before it answered
"""

from typing import ClassVar


class MiningError(Exception):
    """Root of the tree."""

    code: ClassVar[str] = "mining-error"


class OpenRefused(MiningError):
    """A channel that is not opened."""


class UnknownUser(OpenRefused):
    """The operator does not serve this user."""

    code = "unknown-user"


class BannedByOperator(OpenRefused):
    """The operator turns this user or this locking key away."""

    code = "banned-by-operator"


class InvalidUserIdentity(OpenRefused):
    """The user identity, or the locking key that came with it, is none."""

    code = "invalid-user-identity"


class InvalidNominalHashrate(OpenRefused):
    """The nominal hash rate is not a finite number of at least 0."""

    code = "invalid-nominal-hashrate"


class MaxTargetOutOfRange(OpenRefused):
    """No target that this server gives is as hard as the client asks."""

    code = "max-target-out-of-range"


class MinExtranonceSizeTooLarge(OpenRefused):
    """The client wants to roll more bytes than the server has."""

    code = "min-extranonce-size-too-large"


class StandardJobsRequired(OpenRefused):
    """The connection said that it cannot process extended jobs."""

    code = "extended-channels-not-supported-for-standard-jobs"


class CustomWorkRequired(OpenRefused):
    """The connection said that it will send custom jobs, which standard channels cannot use."""

    code = "standard-channels-not-supported-for-custom-work"


class CapacityExhausted(OpenRefused):
    """The server has no room for another channel now."""

    code = "channel-capacity-exhausted"


class UpdateRefused(MiningError):
    """An update that is not applied."""


class UnknownChannel(UpdateRefused):
    """No such channel on this connection."""

    code = "invalid-channel-id"


class InvalidUpdatedHashrate(UpdateRefused):
    """The new nominal hash rate is not a finite number of at least 0."""

    code = "invalid-nominal-hashrate"


class ShareRefused(MiningError):
    """A share that earns nothing."""


class UnknownShareChannel(ShareRefused):
    """No such channel on this connection."""

    code = "invalid-channel-id"


class StaleShare(ShareRefused):
    """The share's job belongs to the previous tip."""

    code = "stale-share"


class UnknownJob(ShareRefused):
    """The channel has no such job, or no longer."""

    code = "invalid-job-id"


class BadExtranonceSize(ShareRefused):
    """The extranonce is longer or shorter than agreed."""

    code = "bad-extranonce-size"


class InvalidShare(ShareRefused):
    """The time of the header is before the job's minimum or too far ahead."""

    code = "invalid-share"


class VersionRollingNotAllowed(ShareRefused):
    """The version differs from that of a job whose version is fixed."""

    code = "version-rolling-not-allowed"


class InvalidVersionBit(ShareRefused):
    """The version differs from the job's outside the bits of BIP323."""

    code = "invalid-non-rollable-version-bit"


class DifficultyTooLow(ShareRefused):
    """The hash is above the job's target."""

    code = "difficulty-too-low"


class DuplicateShare(ShareRefused):
    """The same header has been accepted before, for another key or for none."""

    code = "duplicate-share"


class TooManyShares(ShareRefused):
    """The channel submits faster than it may, whatever its target; the share was not looked at."""

    code = "too-many-shares"


class NoVerdict(ShareRefused):
    """A proxy's word that nobody will say what became of the share; it may have been credited."""

    code = "no-verdict"
