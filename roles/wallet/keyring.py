"""The keys and secrets that follow from the seed, kept in memory only."""

from dataclasses import dataclass
from functools import lru_cache

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.bdhke import blind
from protocols.cashu.deterministic import Derived, QuoteKeySource, SecretSource
from protocols.cashu.models import BlindedMessage
from protocols.ehash.quote_id import quote_id, shared_secret

_KEYS_REMEMBERED = 4096
_KEYSETS_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Output:
    """A blinded message and what opens its signature again."""

    counter: int
    derived: Derived
    message: BlindedMessage


class Keyring:
    """Quote keys by index and outputs by counter, from a 64-byte BIP39 seed."""

    def __init__(self, seed: bytes) -> None:
        quote_keys = QuoteKeySource(seed)
        self.quote_secret = lru_cache(_KEYS_REMEMBERED)(quote_keys.secret)
        self._shared = lru_cache(_KEYS_REMEMBERED)(
            lambda index, mint_key: shared_secret(self.quote_secret(index), mint_key)
        )
        self._secrets = lru_cache(_KEYSETS_REMEMBERED)(
            lambda keyset_id: SecretSource(seed, keyset_id),
        )

    def quote_public(self, key_index: int) -> bytes:
        """The locking key at an index, 33 bytes compressed."""
        return public_key(self.quote_secret(key_index))

    def quote_id(self, key_index: int, mint_quote_key: bytes, share_hash: bytes) -> str:
        """The id of a share's quote at the mint that published `mint_quote_key`."""
        return quote_id(self._shared(key_index, mint_quote_key), share_hash)

    def output(self, keyset_id: str, counter: int, amount: int) -> Output:
        """The output at one counter of a keyset; the same again whenever it is asked for."""
        derived = self._secrets(keyset_id).derive(counter)
        message = BlindedMessage(amount, keyset_id, blind(derived.secret, derived.blinding))
        return Output(counter, derived, message)

    def outputs(self, keyset_id: str, first_counter: int, amounts: tuple[int, ...]) -> list[Output]:
        """Outputs of these amounts at consecutive counters."""
        return [
            self.output(keyset_id, first_counter + offset, amount) for offset, amount in enumerate(amounts)
        ]
