"""The mint's keysets in memory: public halves for everybody, private keys for the signatory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from protocols.bitcoin.secp256k1 import uncompressed
from protocols.cashu.errors import AmountOutOfLimitsError, KeysetUnknownError
from protocols.cashu.keyset import Keyset, derive_private_keys, keyset_id_v2, public_keys


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key of one amount: private scalar 32 bytes, public point 33, its whole form 65."""

    private: bytes = field(repr=False)
    public: bytes
    whole: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MintKeyset:
    """A keyset of this mint; `number` is its row in the store, `index` its place in the derivation."""

    number: int
    public: Keyset
    index: int
    active: bool
    keys: Mapping[int, SigningKey] = field(repr=False)

    @property
    def keyset_id(self) -> str:
        """The id that wallets know."""
        return self.public.keyset_id

    @property
    def unit(self) -> str:
        """The unit, in lower case."""
        return self.public.unit

    def numbered(self, number: int) -> "MintKeyset":
        """The same keyset, known by its row."""
        return replace(self, number=number)

    def key(self, amount: int) -> SigningKey:
        """The key for an amount; raises AmountOutOfLimitsError when there is none."""
        try:
            return self.keys[amount]
        except KeyError:
            raise AmountOutOfLimitsError(f"keyset {self.keyset_id} has no key for {amount}") from None

    def head(self) -> dict[str, object]:
        """The item of /v1/keysets."""
        return {
            "id": self.keyset_id,
            "unit": self.unit,
            "active": self.active,
            "input_fee_ppk": self.public.input_fee_ppk,
            "final_expiry": self.public.final_expiry,
        }

    def to_json(self) -> dict[str, object]:
        """The item of /v1/keys."""
        keys = {str(amount): key.hex() for amount, key in self.public.keys.items()}
        return {**self.head(), "keys": keys}


def derive(
    seed: bytes,
    unit: str,
    index: int,
    denominations: int,
    *,
    number: int = 0,
    active: bool = True,
    input_fee_ppk: int = 0,
    final_expiry: int | None = None,
) -> MintKeyset:
    """The keyset that the seed holds for a unit and index, with keys for 2^0 … 2^(denominations - 1)."""
    private = derive_private_keys(seed, unit, index, denominations)
    public = public_keys(private)
    keyset_id = keyset_id_v2(public, unit, input_fee_ppk, final_expiry)
    return MintKeyset(
        number,
        Keyset(keyset_id, unit.lower(), public, input_fee_ppk, final_expiry),
        index,
        active,
        {
            amount: SigningKey(private[amount], public[amount], uncompressed(public[amount]))
            for amount in private
        },
    )


class KeysetBook:
    """All keysets of the mint, by id."""

    def __init__(self, keysets: Iterable[MintKeyset] = ()) -> None:
        self._by_id = {keyset.keyset_id: keyset for keyset in keysets}

    def add(self, keyset: MintKeyset) -> None:
        """Take a keyset that has been stored."""
        self._by_id[keyset.keyset_id] = keyset

    def get(self, keyset_id: str) -> MintKeyset:
        """The keyset of a full id; raises KeysetUnknownError."""
        try:
            return self._by_id[keyset_id]
        except KeyError:
            raise KeysetUnknownError(f"keyset {keyset_id} is not known") from None

    def __iter__(self) -> Iterator[MintKeyset]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
