"""Messages of the Mining protocol (spec chapter 5)."""

from protocols.sv2.layout import Message, message
from protocols.sv2.types import (
    B32,
    B64K,
    B255,
    F32,
    U16,
    U32,
    U64,
    U256,
    Bool,
    Option,
    Seq64K,
    Seq255,
    Str255,
    Target,
)


@message(0x10)
class OpenStandardMiningChannel(Message):
    """A channel for header-only mining; nominal_hash_rate in hashes/s, max_target the easiest accepted."""

    request_id: U32
    user_identity: Str255
    nominal_hash_rate: F32
    max_target: Target


@message(0x11)
class OpenStandardMiningChannelSuccess(Message):
    """The standard channel is open; its whole extranonce is the prefix."""

    request_id: U32
    channel_id: U32
    target: Target
    extranonce_prefix: B32
    group_channel_id: U32


@message(0x12)
class OpenMiningChannelError(Message):
    """The answer to either kind of open message that cannot be granted."""

    request_id: U32
    error_code: Str255


@message(0x13)
class OpenExtendedMiningChannel(Message):
    """A channel whose client rolls at least min_extranonce_size bytes of extranonce."""

    request_id: U32
    user_identity: Str255
    nominal_hash_rate: F32
    max_target: Target
    min_extranonce_size: U16


@message(0x14)
class OpenExtendedMiningChannelSuccess(Message):
    """The extended channel is open; extranonce_size bytes behind the prefix are the client's to roll."""

    request_id: U32
    channel_id: U32
    target: Target
    extranonce_size: U16
    extranonce_prefix: B32
    group_channel_id: U32


@message(0x15, channel=True)
class NewMiningJob(Message):
    """A job for a standard channel; without min_ntime it is a future job."""

    channel_id: U32
    job_id: U32
    min_ntime: Option[U32]
    version: U32
    merkle_root: U256


@message(0x16, channel=True)
class UpdateChannel(Message):
    """The client's new hash rate and easiest target."""

    channel_id: U32
    nominal_hash_rate: F32
    maximum_target: Target


@message(0x17, channel=True)
class UpdateChannelError(Message):
    """The update is not granted."""

    channel_id: U32
    error_code: Str255


@message(0x18, channel=True)
class CloseChannel(Message):
    """Either side ends a channel, or all of a group by its id."""

    channel_id: U32
    reason_code: Str255


@message(0x19, channel=True)
class SetExtranoncePrefix(Message):
    """Another prefix for later jobs of one channel."""

    channel_id: U32
    extranonce_prefix: B32


@message(0x1A, channel=True)
class SubmitSharesStandard(Message):
    """A share of a standard channel."""

    channel_id: U32
    sequence_number: U32
    job_id: U32
    nonce: U32
    ntime: U32
    version: U32


@message(0x1B, channel=True)
class SubmitSharesExtended(Message):
    """A share of an extended channel; extranonce is the rolled part, without the prefix."""

    channel_id: U32
    sequence_number: U32
    job_id: U32
    nonce: U32
    ntime: U32
    version: U32
    extranonce: B32


@message(0x1C, channel=True)
class SubmitSharesSuccess(Message):
    """Settles the oldest new_submits_accepted_count shares up to last_sequence_number; sum in difficulty."""

    channel_id: U32
    last_sequence_number: U32
    new_submits_accepted_count: U32
    new_shares_sum: U64


@message(0x1D, channel=True)
class SubmitSharesError(Message):
    """One share is refused."""

    channel_id: U32
    sequence_number: U32
    error_code: Str255


@message(0x1F, channel=True)
class NewExtendedMiningJob(Message):
    """A job for an extended channel or group; the coinbase parts are without BIP141 bytes."""

    channel_id: U32
    job_id: U32
    min_ntime: Option[U32]
    version: U32
    version_rolling_allowed: Bool
    merkle_path: Seq255[U256]
    coinbase_tx_prefix: B64K
    coinbase_tx_suffix: B64K


@message(0x20, channel=True)
class SetNewPrevHash(Message):
    """A new tip: activates one future job and ends all others of the channel or group."""

    channel_id: U32
    job_id: U32
    prev_hash: U256
    min_ntime: U32
    nbits: U32


@message(0x21, channel=True)
class SetTarget(Message):
    """The target for jobs received later, and for queued future jobs."""

    channel_id: U32
    maximum_target: Target


@message(0x22, channel=True)
class SetCustomMiningJob(Message):
    """The client's own job; coinbase_tx_outputs begin with their CompactSize count."""

    channel_id: U32
    request_id: U32
    mining_job_token: B255
    version: U32
    prev_hash: U256
    min_ntime: U32
    nbits: U32
    coinbase_tx_version: U32
    coinbase_prefix: B255
    coinbase_tx_input_nsequence: U32
    coinbase_tx_outputs: B64K
    coinbase_tx_locktime: U32
    merkle_path: Seq255[U256]


@message(0x23, channel=True)
class SetCustomMiningJobSuccess(Message):
    """The custom job is granted under job_id."""

    channel_id: U32
    request_id: U32
    job_id: U32


@message(0x24, channel=True)
class SetCustomMiningJobError(Message):
    """The custom job is refused."""

    channel_id: U32
    request_id: U32
    error_code: Str255


@message(0x25)
class SetGroupChannel(Message):
    """Makes a group of channels, under a fresh id."""

    group_channel_id: U32
    channel_ids: Seq64K[U32]


MESSAGES = (
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    OpenMiningChannelError,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    NewMiningJob,
    UpdateChannel,
    UpdateChannelError,
    CloseChannel,
    SetExtranoncePrefix,
    SubmitSharesStandard,
    SubmitSharesExtended,
    SubmitSharesSuccess,
    SubmitSharesError,
    NewExtendedMiningJob,
    SetNewPrevHash,
    SetTarget,
    SetCustomMiningJob,
    SetCustomMiningJobSuccess,
    SetCustomMiningJobError,
    SetGroupChannel,
)
