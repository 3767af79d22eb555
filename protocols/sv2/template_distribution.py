"""Messages of the Template Distribution protocol (spec chapter 7)."""

from protocols.sv2.layout import Message, message
from protocols.sv2.types import B16M, B64K, B255, U16, U32, U64, U256, Bool, Seq64K, Seq255, Str255, Target

DEFAULT_SIGOPS = 400


@message(0x70)
class CoinbaseOutputConstraints(Message):
    """What the client's coinbase outputs need: bytes, and sigops (400 where an old client says nothing)."""

    max_additional_size: U32
    max_additional_sigops: U16 = DEFAULT_SIGOPS


@message(0x71)
class NewTemplate(Message):
    """A template without its transactions; coinbase_tx_outputs have no CompactSize count and come last."""

    template_id: U64
    future_template: Bool
    version: U32
    coinbase_tx_version: U32
    coinbase_prefix: B255
    coinbase_tx_input_sequence: U32
    coinbase_tx_value_remaining: U64
    coinbase_tx_outputs_count: U32
    coinbase_tx_outputs: B64K
    coinbase_tx_locktime: U32
    merkle_path: Seq255[U256]


@message(0x72)
class SetNewPrevHash(Message):
    """A new tip; header_timestamp is where to start, target may be below what nbits implies."""

    template_id: U64
    prev_hash: U256
    header_timestamp: U32
    nbits: U32
    target: Target


@message(0x73)
class RequestTransactionData(Message):
    """Asks for the transactions of a template."""

    template_id: U64


@message(0x74)
class RequestTransactionDataSuccess(Message):
    """The template's transactions in order, without the coinbase."""

    template_id: U64
    excess_data: B64K
    transaction_list: Seq64K[B16M]


@message(0x75)
class RequestTransactionDataError(Message):
    """The transactions cannot be had."""

    template_id: U64
    error_code: Str255


@message(0x76)
class SubmitSolution(Message):
    """A block found on a template; coinbase_tx is complete, with its witness."""

    template_id: U64
    version: U32
    header_timestamp: U32
    header_nonce: U32
    coinbase_tx: B64K


MESSAGES = (
    CoinbaseOutputConstraints,
    NewTemplate,
    SetNewPrevHash,
    RequestTransactionData,
    RequestTransactionDataSuccess,
    RequestTransactionDataError,
    SubmitSolution,
)
