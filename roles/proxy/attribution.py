"""Whose work a channel does: the locking key that goes upstream with it, and whether the wallet holds it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from protocols.bitcoin.secp256k1 import is_point
from protocols.ehash.errors import KeyTextError
from protocols.ehash.key_text import encode_key, parse_identity
from protocols.ehash.messages import EXTENSION, TLV_CHANNEL_KEY
from protocols.mining.errors import BannedByOperator, CapacityExhausted, InvalidUserIdentity
from protocols.sv2.errors import MalformedTlv
from protocols.sv2.tlv import Tlv, find_tlv
from roles.proxy.errors import StoreFailed
from roles.runtime.ban_list import BanList
from roles.runtime.errors import StorageError
from roles.stratum.upstream_channel import OpenTerms
from roles.wallet.errors import IdentityLimitError
from roles.wallet.key_desk import KeyDesk
from roles.wallet.wallet import Wallet

USER_BYTES = 255
"""What a user identity holds at most."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """A locking key, 33 bytes, and its index in the wallet; None for a key that somebody else holds."""

    key: bytes
    key_index: int | None

    def on_wire(self, user: str, extensions: frozenset[int]) -> tuple[str, tuple[Tlv, ...]]:
        """User identity and TLVs of a channel that is asked for on a connection with `extensions`.

        Where the upstream does not know of keys in TLVs, or did not say so in time, the key goes as text in
        front of the name: work must never arrive without it.
        """
        if EXTENSION in extensions:
            return user, (Tlv(EXTENSION, TLV_CHANNEL_KEY, self.key),)
        try:
            named = parse_identity(user).key
        except KeyTextError:
            named = None
        if named == self.key:
            return user, ()
        text = f"{encode_key(self.key)}.{user}".encode("utf-8", "surrogateescape")
        return text[:USER_BYTES].decode("utf-8", "surrogateescape"), ()


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are at an upstream that knows no ehash; an empty name leaves miners theirs, key and all."""

    name: str

    def adapt(self, terms: OpenTerms, extensions: frozenset[int]) -> OpenTerms:
        """The account with the miner's name behind it, in place of the key that means nothing there."""
        if not self.name or EXTENSION in extensions:
            return terms
        try:
            worker = parse_identity(terms.user_identity).worker
        except KeyTextError:
            worker = terms.user_identity
        text = f"{self.name}.{worker}" if worker else self.name
        raw = text.encode("utf-8", "surrogateescape")[:USER_BYTES]
        return replace(terms, user_identity=raw.decode("utf-8", "surrogateescape"))


class Registrar:
    """Finds the key of a user identity: the one that it names, else the wallet's own for that name."""

    def __init__(self, wallet: Wallet, default_identity: str, bans: BanList | None = None) -> None:
        self._bans = bans
        self._desk = KeyDesk(wallet, default_identity)

    def admit(self, user_identity: str, attribution: Attribution) -> None:
        """Raises BannedByOperator for a miner whose name or key is turned away."""
        if self._bans is not None and self._bans.bars_miner(
            user_identity or self._desk.default, attribution.key
        ):
            raise BannedByOperator("the operator turns this miner away")

    async def attribute(self, user_identity: str, tlvs: Iterable[Tlv]) -> Attribution:
        """The attribution of a channel that is being opened.

        A key that the edge sends along as a TLV comes before one in the identity's text. Raises
        InvalidUserIdentity for a key that is none and for two, CapacityExhausted when the wallet keeps no
        more keys, StoreFailed when a new one cannot be stored.
        """
        try:
            key = find_tlv(tlvs, EXTENSION, TLV_CHANNEL_KEY)
        except MalformedTlv as error:
            raise InvalidUserIdentity(str(error)) from error
        if key is None:
            try:
                key = parse_identity(user_identity).key
            except KeyTextError as error:
                raise InvalidUserIdentity(str(error)) from error
        elif not is_point(key):
            raise InvalidUserIdentity("the channel's locking key is not a point of the curve")
        try:
            owner = await self._desk.owner(user_identity, key)
        except IdentityLimitError as error:
            raise CapacityExhausted(str(error)) from error
        except StorageError as error:
            raise StoreFailed(f"the wallet's store: {error}") from error
        return Attribution(owner.key, owner.key_index)
