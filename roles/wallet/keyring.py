"""The keys and secrets that follow from the seed, kept in memory only."""

from dataclasses import dataclass
from functools import lru_cache

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.bdhke import blind
from protocols.cashu.deterministic import Derived, QuoteKeySource, SecretSource
from protocols.cashu.models import BlindedMessage
from protocols.ehash.quote_id import quote_id, shared_secret
from roles.wallet.errors import KeyNotHeld

_KEYS_REMEMBERED = 4096
_KEYSETS_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Output:
    """A blinded message and what opens its signature again; without a `counter` it is not of the seed."""

    counter: int | None
    derived: Derived
    message: BlindedMessage

    @classmethod
    def drawn(cls, keyset_id: str, drawn: Derived, amount: int) -> "Output":
        """An output whose secret and blinding factor do not follow from the seed."""
        return cls(None, drawn, BlindedMessage(amount, keyset_id, blind(drawn.secret, drawn.blinding)))


class Keyring:
    """Quote keys by index and outputs by counter, from a 64-byte BIP39 seed.

    Indexes below zero are those of keys that were brought, and are held only after `bring`.
    """

    def __init__(self, seed: bytes) -> None:
        self._derived = lru_cache(_KEYS_REMEMBERED)(QuoteKeySource(seed).secret)
        self._brought: dict[int, bytes] = {}
        self._shared = lru_cache(_KEYS_REMEMBERED)(
            lambda index, mint_key: shared_secret(self.quote_secret(index), mint_key)
        )
        self._secrets = lru_cache(_KEYSETS_REMEMBERED)(
            lambda keyset_id: SecretSource(seed, keyset_id),
        )

    def bring(self, key_index: int, secret: bytes) -> None:
        """Hold a key that is not of the seed, from now until the keyring is gone."""
        self._brought[key_index] = secret

    def holds(self, key_index: int) -> bool:
        """Whether the secret of an index is at hand."""
        return key_index >= 0 or key_index in self._brought

    def quote_secret(self, key_index: int) -> bytes:
        """What unlocks the quotes of an index; raises KeyNotHeld for a key that was brought another time."""
        if key_index >= 0:
            return self._derived(key_index)
        if key_index not in self._brought:
            raise KeyNotHeld(
                "quotes of a key that was brought before are not minted yet",
                hint="give that private key again: hashpool wallet claim --secret FILE",
            )
        return self._brought[key_index]

    def quote_public(self, key_index: int) -> bytes:
        """The locking key at an index, 33 bytes compressed."""
        return public_key(self.quote_secret(key_index))

    def quote_id(self, key_index: int, mint_quote_key: bytes, share_hash: bytes) -> str:
        """The id of a share's quote at the mint that published `mint_quote_key`."""
        return quote_id(self._shared(key_index, mint_quote_key), share_hash)

    def blinding(self, keyset_id: str, counter: int) -> bytes:
        """The factor that blinded the output at one counter of a keyset."""
        return self._secrets(keyset_id).derive(counter).blinding

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
