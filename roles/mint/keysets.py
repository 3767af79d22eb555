"""The mint's keysets in memory: what each is, and its keys where they are needed.

A mint of some years has thousands of keysets, of which few are in use. So a keyset here is its head alone;
keys are derived from the seed amount by amount, and those of the keysets used last are kept.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from threading import Lock

from protocols.bitcoin.secp256k1 import public_key, uncompressed
from protocols.cashu.errors import AmountOutOfLimitsError, KeysetUnknownError
from protocols.cashu.keyset import derive_private_key, keyset_branch, keyset_id_v2

DERIVED = 256
"""Keysets whose keys are kept by default, 21 KiB each when all of their keys were used."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key of one amount: private scalar 32 bytes, public point 33, its whole form 65."""

    private: bytes = field(repr=False)
    public: bytes
    whole: bytes = field(repr=False)


@dataclass(slots=True)
class _Derived:
    """The keys of one keyset that have been needed, by exponent."""

    branch: bytes = field(repr=False)
    keys: dict[int, SigningKey] = field(default_factory=dict, repr=False)

    def key(self, exponent: int) -> SigningKey:
        found = self.keys.get(exponent)
        if found is None:
            private = derive_private_key(self.branch, exponent)
            public = public_key(private)
            found = self.keys[exponent] = SigningKey(private, public, uncompressed(public))
        return found


class KeyRing:
    """Derives the keys of keysets from a seed, and keeps those of the `limit` keysets used last.

    May be used by several threads at once.
    """

    def __init__(self, seed: bytes, limit: int = DERIVED) -> None:
        self._seed = seed
        self._limit = limit
        self._lock = Lock()
        self._derived: OrderedDict[tuple[str, int], _Derived] = OrderedDict()

    def keys(self, unit: str, index: int, exponents: Iterable[int]) -> list[SigningKey]:
        """The keys for 2^exponent of the keyset `index` of a unit."""
        derived = self._keyset(unit, index)
        return [derived.key(exponent) for exponent in exponents]

    def public_keys(self, unit: str, index: int, denominations: int) -> dict[int, bytes]:
        """Amount to public key, ascending."""
        derived = self._keyset(unit, index)
        return {1 << exponent: derived.key(exponent).public for exponent in range(denominations)}

    def __len__(self) -> int:
        return len(self._derived)

    def _keyset(self, unit: str, index: int) -> _Derived:
        with self._lock:
            derived = self._derived.get((unit, index))
            if derived is not None:
                self._derived.move_to_end((unit, index))
                return derived
            derived = self._derived[unit, index] = _Derived(keyset_branch(self._seed, unit, index))
            if len(self._derived) > self._limit:
                self._derived.popitem(last=False)
            return derived


@dataclass(frozen=True, slots=True)
class MintKeyset:
    """A keyset of this mint; `number` is its row in the store, `index` its place in the derivation."""

    number: int
    keyset_id: str
    unit: str
    index: int
    denominations: int
    active: bool
    input_fee_ppk: int
    final_expiry: int | None
    ring: KeyRing = field(repr=False, compare=False)

    def numbered(self, number: int) -> "MintKeyset":
        """The same keyset, known by its row."""
        return replace(self, number=number)

    def check_amount(self, amount: int) -> None:
        """Raises AmountOutOfLimitsError where there is no key for an amount."""
        if not (amount > 0 and amount & (amount - 1) == 0 and amount.bit_length() <= self.denominations):
            raise AmountOutOfLimitsError(f"keyset {self.keyset_id} has no key for {amount}")

    def key(self, amount: int) -> SigningKey:
        """The key for an amount, derived where it is not at hand; raises AmountOutOfLimitsError."""
        (found,) = self.keys([amount])
        return found

    def keys(self, amounts: Iterable[int]) -> list[SigningKey]:
        """The same for several amounts, at less than the cost of asking for each."""
        exponents = []
        for amount in amounts:
            self.check_amount(amount)
            exponents.append(amount.bit_length() - 1)
        return self.ring.keys(self.unit, self.index, exponents)

    def public_keys(self) -> dict[int, bytes]:
        """Amount to public key, ascending; derives them all where they are not at hand."""
        return self.ring.public_keys(self.unit, self.index, self.denominations)

    def head(self) -> dict[str, object]:
        """The item of /v1/keysets."""
        return {
            "id": self.keyset_id,
            "unit": self.unit,
            "active": self.active,
            "input_fee_ppk": self.input_fee_ppk,
            "final_expiry": self.final_expiry,
        }

    def to_json(self) -> dict[str, object]:
        """The item of /v1/keys."""
        keys = {str(amount): key.hex() for amount, key in self.public_keys().items()}
        return {**self.head(), "keys": keys}


def derive(
    ring: KeyRing | bytes,
    unit: str,
    index: int,
    denominations: int,
    *,
    number: int = 0,
    active: bool = True,
    input_fee_ppk: int = 0,
    final_expiry: int | None = None,
) -> MintKeyset:
    """The keyset that a ring, or a seed, holds for a unit and index, with keys for 2^0 … 2^(denominations -
    1); its id comes from its keys.
    """
    ring = KeyRing(ring) if isinstance(ring, bytes) else ring
    unit = unit.lower()
    public = ring.public_keys(unit, index, denominations)
    keyset_id = keyset_id_v2(public, unit, input_fee_ppk, final_expiry)
    return MintKeyset(
        number, keyset_id, unit, index, denominations, active, input_fee_ppk, final_expiry, ring
    )


class KeysetBook:
    """All keysets of the mint, by id, oldest first; those that others add while it serves come by
    `roles.mint.keyset_watch`.
    """

    def __init__(self, keysets: Iterable[MintKeyset] = (), ring: KeyRing | None = None) -> None:
        self._by_id: dict[str, MintKeyset] = {}
        self.ring = ring
        """What keysets that come later derive their keys by."""
        self.seek: Callable[[Set[str]], Awaitable[None]] | None = None
        """Looks for keysets of these ids in the store, and adds what it finds."""
        self.last_number = 0
        """The highest row that is here."""
        self.changes = 0
        """Grows whenever a keyset is added or changed."""
        for keyset in keysets:
            self.add(keyset)

    def add(self, keyset: MintKeyset) -> None:
        """Take a keyset that has been stored, or has changed there."""
        if self._by_id.get(keyset.keyset_id) != keyset:
            self._by_id[keyset.keyset_id] = keyset
            self.last_number = max(self.last_number, keyset.number)
            self.changes += 1

    async def meet(self, keyset_ids: Iterable[str]) -> None:
        """Have keysets of these ids looked for in the store where they are not here; they may be nowhere."""
        unknown = {keyset_id for keyset_id in keyset_ids if keyset_id not in self._by_id}
        if unknown and self.seek is not None:
            await self.seek(unknown)

    def get(self, keyset_id: str) -> MintKeyset:
        """The keyset of a full id; raises KeysetUnknownError."""
        try:
            return self._by_id[keyset_id]
        except KeyError:
            raise KeysetUnknownError(f"keyset {keyset_id} is not known") from None

    def __contains__(self, keyset_id: object) -> bool:
        return keyset_id in self._by_id

    def __iter__(self) -> Iterator[MintKeyset]:
        # Others may add to it meanwhile.
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)
