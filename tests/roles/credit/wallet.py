"""As much of a wallet as mints and swaps need: outputs that open to tokens, and signatures of quotes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import bdhke, quote_signature
from protocols.cashu.denominations import split
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof
from protocols.ehash.quote_id import quote_id, shared_secret
from roles.mint.keysets import MintKeyset

MINERS = tuple(bytes((number,)) * 32 for number in (0x31, 0x32, 0x33))
KEYS = tuple(public_key(secret) for secret in MINERS)

Body = dict[str, object]


@dataclass
class Basket:
    """Outputs and what opens their signatures."""

    keyset: MintKeyset
    outputs: list[BlindedMessage] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    blindings: list[bytes] = field(default_factory=list)

    def open(self, signatures: Sequence[BlindSignature]) -> list[Proof]:
        """The tokens."""
        return [
            Proof(
                signature.amount,
                signature.keyset_id,
                secret,
                bdhke.unblind(signature.signature, blinding, self.keyset.key(signature.amount).public),
            )
            for signature, secret, blinding in zip(signatures, self.secrets, self.blindings, strict=True)
        ]

    def to_json(self) -> list[Body]:
        """The outputs as a request carries them."""
        return [output.to_json() for output in self.outputs]


class Wallet:
    """The wallet of all miners; no two of its outputs are alike."""

    def __init__(self) -> None:
        self._count = 0

    def basket(self, keyset: MintKeyset, amount: int) -> Basket:
        """Fresh outputs for an amount."""
        basket = Basket(keyset)
        for part in split(amount):
            self._count += 1
            secret, blinding = sha256(b"s%d" % self._count).hex(), sha256(b"r%d" % self._count)
            basket.outputs.append(BlindedMessage(part, keyset.keyset_id, bdhke.blind(secret, blinding)))
            basket.secrets.append(secret)
            basket.blindings.append(blinding)
        return basket

    def claim(self, miner: int, quote: str, basket: Basket) -> Body:
        """The body that mints a quote."""
        signature = quote_signature.sign(MINERS[miner], quote, basket.outputs, bytes(32))
        return {"quote": quote, "outputs": basket.to_json(), "signature": signature.hex()}


def quote_of(miner: int, quote_secret: bytes, share_hash: bytes) -> str:
    """The id that only the key's holder and the mint can tell."""
    return quote_id(shared_secret(MINERS[miner], public_key(quote_secret)), share_hash)
