"""Hierarchical keys (BIP32): from a seed along a path, secret or public, and their text form."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from protocols.bitcoin import base58
from protocols.bitcoin.errors import CurveError, DerivationError, TextError
from protocols.bitcoin.hashing import hash160, hmac_sha512
from protocols.bitcoin.networks import Network
from protocols.bitcoin.secp256k1 import POINT_SIZE, add, is_point, is_secret, public_key, secret_add

HARDENED = 1 << 31
MIN_SEED_SIZE = 16
MAX_SEED_SIZE = 64

_SERIALIZED_SIZE = 78
_MAX_DEPTH = 255


def parse_path(text: str) -> tuple[int, ...]:
    """Child numbers of a path such as m/84'/0'/0'/0/7 (' or h marks hardened); raises DerivationError."""
    first, *steps = text.split("/")
    if first not in {"m", "M"}:
        steps = [first, *steps] if text else []
    return tuple(_parse_step(step) for step in steps)


def _parse_step(step: str) -> int:
    number = step.removesuffix("'") if step.endswith("'") else step.removesuffix("h")
    if not (number.isascii() and number.isdigit()) or len(number) > 10 or int(number) >= HARDENED:
        raise DerivationError(f"{step!r} is no step of a derivation path")
    return int(number) + (HARDENED if number != step else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where in the tree a key stands: depth, fingerprint of the parent (4 bytes), own number, chain code."""

    chain_code: bytes = field(repr=False)
    depth: int = 0
    parent: bytes = bytes(4)
    index: int = 0

    def _pack(self, version: bytes, key: bytes) -> str:
        return base58.encode_check(
            version
            + bytes((self.depth,))
            + self.parent
            + self.index.to_bytes(4, "big")
            + self.chain_code
            + key
        )

    def _below(self) -> int:
        if self.depth == _MAX_DEPTH:
            raise DerivationError("no key lies deeper than 255 steps")
        return self.depth + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedPublic(_Place):
    """A public key, 33 bytes compressed, that has unhardened children."""

    point: bytes

    @property
    def fingerprint(self) -> bytes:
        """The 4 bytes by which children name this key."""
        return hash160(self.point)[:4]

    def child(self, index: int) -> Self:
        """The child `index`, below 2^31; raises DerivationError."""
        if not 0 <= index < HARDENED:
            raise DerivationError("a hardened child needs the secret key")
        digest = hmac_sha512(self.chain_code, self.point, index.to_bytes(4, "big"))
        try:
            point = add(self.point, public_key(digest[:32]))
        except CurveError as error:
            raise DerivationError(f"child {index} does not exist; take the next") from error
        return type(self)(
            point=point,
            chain_code=digest[32:],
            depth=self._below(),
            parent=self.fingerprint,
            index=index,
        )

    def derive(self, path: str | Iterable[int]) -> Self:
        """The descendant along `path`, text or child numbers; raises DerivationError."""
        key = self
        for index in parse_path(path) if isinstance(path, str) else path:
            key = key.child(index)
        return key

    def encode(self, network: Network) -> str:
        """The xpub or tpub text."""
        return self._pack(network.parameters.extended_public_prefix, self.point)

    @classmethod
    def decode(cls, text: str, network: Network) -> Self:
        """The key of an xpub or tpub of `network`; raises DerivationError."""
        place, key = _unpack(text, network.parameters.extended_public_prefix)
        if not is_point(key):
            raise DerivationError("the extended key holds no point of the curve")
        return cls(
            point=key,
            chain_code=place.chain_code,
            depth=place.depth,
            parent=place.parent,
            index=place.index,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedSecret(_Place):
    """A secret key, 32 bytes, that has hardened and unhardened children; never shown by repr."""

    secret: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The master key of a seed of 16 to 64 bytes; raises DerivationError."""
        if not MIN_SEED_SIZE <= len(seed) <= MAX_SEED_SIZE:
            raise DerivationError(f"a seed has 16 to 64 bytes, this one {len(seed)}")
        digest = hmac_sha512(b"Bitcoin seed", seed)
        if not is_secret(digest[:32]):
            raise DerivationError("this seed has no master key; take another")
        return cls(secret=digest[:32], chain_code=digest[32:])

    @property
    def point(self) -> bytes:
        """The public key, 33 bytes compressed."""
        return public_key(self.secret)

    @property
    def public(self) -> ExtendedPublic:
        """The public key at the same place."""
        return ExtendedPublic(
            point=self.point,
            chain_code=self.chain_code,
            depth=self.depth,
            parent=self.parent,
            index=self.index,
        )

    def child(self, index: int) -> Self:
        """The child `index`, hardened from 2^31 on; raises DerivationError."""
        point = self.point
        secret, chain_code = self._child(index, point)
        return type(self)(
            secret=secret,
            chain_code=chain_code,
            depth=self._below(),
            parent=hash160(point)[:4],
            index=index,
        )

    def child_secret(self, index: int, point: bytes) -> bytes:
        """The key of a child alone, 32 bytes, without what its text would need; `point` is this key's own, at
        hand for whoever asks for many children. Raises DerivationError.
        """
        return self._child(index, point)[0]

    def _child(self, index: int, point: bytes) -> tuple[bytes, bytes]:
        if not 0 <= index < 2 * HARDENED:
            raise DerivationError("a child number has 32 bits")
        data = b"\0" + self.secret if index >= HARDENED else point
        digest = hmac_sha512(self.chain_code, data, index.to_bytes(4, "big"))
        try:
            return secret_add(self.secret, digest[:32]), digest[32:]
        except CurveError as error:
            raise DerivationError(f"child {index} does not exist; take the next") from error

    def derive(self, path: str | Iterable[int]) -> Self:
        """The descendant along `path`, text or child numbers; raises DerivationError."""
        key = self
        for index in parse_path(path) if isinstance(path, str) else path:
            key = key.child(index)
        return key

    def encode(self, network: Network) -> str:
        """The xprv or tprv text, which is as secret as the key."""
        return self._pack(network.parameters.extended_secret_prefix, b"\0" + self.secret)

    @classmethod
    def decode(cls, text: str, network: Network) -> Self:
        """The key of an xprv or tprv of `network`; raises DerivationError."""
        place, key = _unpack(text, network.parameters.extended_secret_prefix)
        if key[0] != 0 or not is_secret(key[1:]):
            raise DerivationError("the extended key holds no secret scalar")
        return cls(
            secret=key[1:],
            chain_code=place.chain_code,
            depth=place.depth,
            parent=place.parent,
            index=place.index,
        )


def _unpack(text: str, version: bytes) -> tuple[_Place, bytes]:
    try:
        data = base58.decode_check(text)
    except TextError as error:
        raise DerivationError("an extended key is base58 text with a checksum") from error
    if len(data) != _SERIALIZED_SIZE or not data.startswith(version):
        raise DerivationError("not an extended key of this kind and network")
    place = _Place(
        depth=data[4],
        parent=data[5:9],
        index=int.from_bytes(data[9:13], "big"),
        chain_code=data[13:45],
    )
    if place.depth == 0 and (any(place.parent) or place.index):
        raise DerivationError("a master key has neither parent nor number")
    return place, data[-POINT_SIZE:]
