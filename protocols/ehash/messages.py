"""Messages and TLVs of SV2 extension 0x4548.

The mining link carries hints to the miner's side, with the channel bit. The issuance link, a connection whose
SetupConnection names protocol 0x45, carries the ledger from the issuer to the mint; the mint listens.
"""

from typing import Annotated

from protocols.sv2.codec import Catalogue
from protocols.sv2.connection import MESSAGES as CONNECTION_MESSAGES
from protocols.sv2.layout import Message, Record, message, record
from protocols.sv2.types import U8, U32, U64, U256, Raw, Seq64K, Signature, Str255, Target

EXTENSION = 0x4548
PROTOCOL_ISSUANCE = 0x45

TLV_CHANNEL_KEY = 0x01
"""On OpenStandardMiningChannel and OpenExtendedMiningChannel: the channel's locking key, 33 bytes."""
TLV_SHARE_KEY = 0x02
"""On SubmitSharesStandard and SubmitSharesExtended: the locking key of this share, 33 bytes."""
TLV_RESUME_TOKEN = 0x03
"""On Open... and its Success: a token of at most 32 bytes."""
TLV_MINT_URL = 0x04
"""On the Success of a connection's first channel: where wallets reach the pool's mint, UTF-8."""

MAX_CREDITS = 1000
"""Rows in one Credits frame."""

FLAG_BLOCK = 0x01

Point = Annotated[bytes, Raw(33)]
HeaderBytes = Annotated[bytes, Raw(80)]
StoreId = Annotated[bytes, Raw(16)]


@message(0x00, channel=True, extension=EXTENSION)
class QuoteNotice(Message):
    """A hint that the mint holds a quote for a share; the mint is the truth."""

    channel_id: U32
    share_hash: U256
    amount: U64
    unit: Str255


@message(0x01, channel=True, extension=EXTENSION)
class CreditRefused(Message):
    """The mint refused the credit of a share that the pool had accepted."""

    channel_id: U32
    sequence_number: U32
    code: Str255


@message(0x10, extension=EXTENSION)
class IssuerHello(Message):
    """Who the issuer is, which ledger it keeps, and the number of the row that it writes next."""

    identity: Point
    signature: Signature
    store_id: StoreId
    next_seq: U64


@message(0x11, extension=EXTENSION)
class IssuerHelloSuccess(Message):
    """Where the mint stands: last row settled of this ledger, and how many frames may be unanswered."""

    acked_seq: U64
    min_shift: U32
    window: U32
    mint_url: Str255
    quote_key: Point


@record
class CreditRow(Record):
    """One row of the ledger as it is handed over; time in ms, flags bit 0: the share is a block."""

    header: HeaderBytes
    target: Target
    time: U64
    flags: U8
    locking_key: Point


@message(0x12, extension=EXTENSION)
class Credits(Message):
    """Consecutive rows of one shift from `first_seq`, at most 1,000; `minimum` in bits."""

    first_seq: U64
    shift: U32
    minimum: U8
    valuation: U8
    rows: Seq64K[CreditRow]


@record
class CreditResult(Record):
    """A row that is not simply accepted, by a CreditCode."""

    seq: U64
    code: U8


@message(0x13, extension=EXTENSION)
class CreditResults(Message):
    """Rows up to `up_to_seq` are settled, and ok unless listed; a hold code names the row after it only."""

    up_to_seq: U64
    results: Seq64K[CreditResult]


MINING_MESSAGES = (QuoteNotice, CreditRefused)
ISSUANCE_MESSAGES = (IssuerHello, IssuerHelloSuccess, Credits, CreditResults)

ISSUANCE = Catalogue([*CONNECTION_MESSAGES, *ISSUANCE_MESSAGES])
"""What an issuance link may carry."""
