"""A wallet that prepares its requests before they are timed, and opens the answers afterwards."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import orjson

from benchmarks.errors import SignatureForged
from protocols.cashu import dleq, quote_signature
from protocols.cashu.bdhke import blind, unblind
from protocols.cashu.deterministic import SecretSource
from protocols.cashu.fields import as_array, as_object
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof


@dataclass(slots=True)
class Basket:
    """Outputs with what unblinds their signatures, the request that carries them, and its answer."""

    outputs: list[BlindedMessage]
    secrets: list[str] = field(repr=False)
    blindings: list[bytes] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    answer: bytes = field(default=b"", repr=False)

    def asked(self) -> bytes:
        """The outputs as JSON."""
        return orjson.dumps([output.to_json() for output in self.outputs])

    def signatures(self) -> list[BlindSignature]:
        """The blind signatures of the answer; raises CashuError and orjson's error for what holds none."""
        items = as_array(as_object(orjson.loads(self.answer), "answer").get("signatures"), "signatures")
        return [BlindSignature.from_json(item) for item in items]


class Purse:
    """Makes baskets of one keyset."""

    def __init__(self, keyset: Keyset) -> None:
        self._keyset = keyset
        self._source = SecretSource(secrets.token_bytes(64), keyset.keyset_id)
        self._counter = count()

    def mint(self, amounts: Sequence[int]) -> Basket:
        """Outputs for a quote that is not made yet: the body lacks its id in front."""
        basket = self._basket(amounts)
        basket.body = b'","outputs":' + basket.asked() + b"}"
        return basket

    def batch(self, quote_ids: Sequence[str], key: bytes, amounts: Sequence[int]) -> Basket:
        """A request that mints quotes which the public half of `key` locks (NUT-29)."""
        basket = self._basket(amounts)
        signatures = [
            quote_signature.sign(key, quote_id, basket.outputs, secrets.token_bytes(32)).hex()
            for quote_id in quote_ids
        ]
        head = orjson.dumps({"quotes": quote_ids, "signatures": signatures})
        basket.body = head[:-1] + b',"outputs":' + basket.asked() + b"}"
        return basket

    def swap(self, spent: Basket) -> Basket:
        """A request that swaps the tokens of an answered basket for as many fresh ones."""
        basket = self._basket([output.amount for output in spent.outputs])
        inputs = orjson.dumps([proof.to_json() for proof in self.open(spent)])
        basket.body = b'{"inputs":' + inputs + b',"outputs":' + basket.asked() + b"}"
        return basket

    def open(self, basket: Basket) -> list[Proof]:
        """The tokens of an answered basket."""
        return [
            Proof(
                signature.amount,
                signature.keyset_id,
                secret,
                unblind(signature.signature, blinding, self._keyset.keys[signature.amount]),
            )
            for signature, secret, blinding in zip(
                basket.signatures(), basket.secrets, basket.blindings, strict=True
            )
        ]

    def read(self, basket: Basket) -> list[BlindSignature]:
        """The signatures of the answer, one for each output; raises SignatureForged and what reading
        raises.
        """
        signatures = basket.signatures()
        asked = [(output.amount, output.keyset_id) for output in basket.outputs]
        if [(signature.amount, signature.keyset_id) for signature in signatures] != asked:
            raise SignatureForged("an answer is not one to what was asked")
        return signatures

    def verify(self, basket: Basket) -> None:
        """Raise SignatureForged unless the mint made every signature of the answer with its published key."""
        for output, signature in zip(basket.outputs, self.read(basket), strict=True):
            key = self._keyset.keys[output.amount]
            if signature.dleq is None or not dleq.verify(
                key, output.blinded, signature.signature, signature.dleq
            ):
                raise SignatureForged(f"a signature for {output.amount} is not of the mint's key")

    def _basket(self, amounts: Sequence[int]) -> Basket:
        derived = [self._source.derive(next(self._counter)) for _ in amounts]
        outputs = [
            BlindedMessage(amount, self._keyset.keyset_id, blind(each.secret, each.blinding))
            for amount, each in zip(amounts, derived, strict=True)
        ]
        return Basket(outputs, [each.secret for each in derived], [each.blinding for each in derived])
