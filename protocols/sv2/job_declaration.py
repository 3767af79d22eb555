"""Messages of the Job Declaration protocol (spec chapter 6)."""

from protocols.sv2.layout import Message, message
from protocols.sv2.types import B16M, B32, B64K, B255, U16, U32, U256, Seq64K, Str255


@message(0x50)
class AllocateMiningJobToken(Message):
    """Asks for a token to declare a job with."""

    user_identifier: Str255
    request_id: U32


@message(0x51)
class AllocateMiningJobTokenSuccess(Message):
    """The token, and the outputs that the coinbase must pay: CompactSize count, then the pool's first."""

    request_id: U32
    mining_job_token: B255
    coinbase_tx_outputs: B64K


@message(0x55)
class ProvideMissingTransactions(Message):
    """The server lacks these transactions of a declaration: 0-based positions without the coinbase."""

    request_id: U32
    unknown_tx_position_list: Seq64K[U16]


@message(0x56)
class ProvideMissingTransactionsSuccess(Message):
    """The missing transactions in the requested order."""

    request_id: U32
    transaction_list: Seq64K[B16M]


@message(0x57)
class DeclareMiningJob(Message):
    """The client's template in full; the coinbase parts are with BIP141 bytes."""

    request_id: U32
    mining_job_token: B255
    version: U32
    coinbase_tx_prefix: B64K
    coinbase_tx_suffix: B64K
    wtxid_list: Seq64K[U256]
    excess_data: B64K


@message(0x58)
class DeclareMiningJobSuccess(Message):
    """The declaration stands; the new token goes into SetCustomMiningJob."""

    request_id: U32
    new_mining_job_token: B255


@message(0x59)
class DeclareMiningJobError(Message):
    """The declaration is refused."""

    request_id: U32
    error_code: Str255
    error_details: B64K


@message(0x60)
class PushSolution(Message):
    """A block found on a declared job; extranonce is the full one."""

    extranonce: B32
    prev_hash: U256
    nonce: U32
    ntime: U32
    nbits: U32
    version: U32


MESSAGES = (
    AllocateMiningJobToken,
    AllocateMiningJobTokenSuccess,
    ProvideMissingTransactions,
    ProvideMissingTransactionsSuccess,
    DeclareMiningJob,
    DeclareMiningJobSuccess,
    DeclareMiningJobError,
    PushSolution,
)
