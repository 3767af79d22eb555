"""The check of a credit row: from header to hash to amount, without trust in whoever sent it."""

from dataclasses import dataclass

from protocols.bitcoin.errors import TargetError
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import is_point
from protocols.bitcoin.target import from_bits
from protocols.ehash.amount import AMOUNT_LIMIT, Valuation, share_amount
from protocols.ehash.errors import BadKey, BadWork
from protocols.ehash.messages import FLAG_BLOCK, CreditRow

_BITS = slice(72, 76)


@dataclass(frozen=True, slots=True)
class Credit:
    """A proven share: hash (32 raw bytes, internal order), amount in ehash, locking key, block or not."""

    share_hash: bytes
    amount: int
    key: bytes
    block: bool


def check_credit(row: CreditRow, minimum: int, valuation: Valuation) -> Credit:
    """Recompute what a row is worth; raises BadKey and BadWork.

    A row is refused when its hash is above its target, its amount is 0 or not below 2^53, or it claims a
    block that its own nbits do not allow.
    """
    if not is_point(row.locking_key):
        raise BadKey("the locking key is not a compressed point of the curve")
    share_hash = sha256d(row.header)
    number = int.from_bytes(share_hash, "little")
    if number > row.target:
        raise BadWork("the header's hash is above the credit's target")
    amount = share_amount(share_hash, row.target, minimum, valuation)
    if not 0 < amount < AMOUNT_LIMIT:
        raise BadWork(f"the work is worth {amount} ehash, 1 to 2^53 - 1 are credited")
    block = bool(row.flags & FLAG_BLOCK)
    if block and number > _block_target(row.header):
        raise BadWork("the row claims a block that its nbits do not allow")
    return Credit(share_hash, amount, row.locking_key, block)


def _block_target(header: bytes) -> int:
    try:
        return from_bits(int.from_bytes(header[_BITS], "little"))
    except TargetError as error:
        raise BadWork(f"the row claims a block whose nbits are invalid: {error}") from error
