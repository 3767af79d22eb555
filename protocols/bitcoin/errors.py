"""What the bitcoin package raises.

::

    BitcoinError (ValueError)
    ├── EncodingError           bytes that are not what they should encode
    │   ├── TruncatedError      they end too early
    │   ├── TrailingError       something is left over
    │   └── NonCanonicalError   a longer form of what has a shorter one
    ├── TextError               text that does not decode
    │   ├── Base58Error
    │   ├── Bech32Error
    │   ├── AddressError        decodes, but is no address of this network
    │   └── DescriptorError
    ├── CurveError
    │   ├── PointError          not a point of secp256k1, or the point at infinity
    │   └── SecretError         a scalar that is zero or not below the order (its value is never told)
    ├── TargetError             a target, difficulty or compact form out of range
    ├── CoinbaseError           a coinbase that consensus or the protocol would refuse
    └── DerivationError         a BIP32 path or key that cannot be derived

They are ValueErrors, so that a configuration model that parses an address reports it as a bad value.
"""


class BitcoinError(ValueError):
    """The root of the tree."""


class EncodingError(BitcoinError):
    """Bytes that are not a valid encoding."""


class TruncatedError(EncodingError):
    """The bytes end before the value does."""


class TrailingError(EncodingError):
    """Bytes are left after the value."""


class NonCanonicalError(EncodingError):
    """A value is encoded longer than necessary."""


class TextError(BitcoinError):
    """Text that does not decode."""


class Base58Error(TextError):
    """Not base58, or its checksum fails."""


class Bech32Error(TextError):
    """Not bech32 or bech32m, or its checksum fails."""


class AddressError(TextError):
    """Not an address of the network asked for."""


class DescriptorError(TextError):
    """Not an output descriptor that names one script."""


class CurveError(BitcoinError):
    """A value that does not belong to secp256k1."""


class PointError(CurveError):
    """Not a compressed point of the curve, or the point at infinity."""


class SecretError(CurveError):
    """Not a scalar between 1 and the order less one; its text never contains the scalar."""


class TargetError(BitcoinError):
    """A target, a difficulty or a compact form out of range."""


class CoinbaseError(BitcoinError):
    """A coinbase transaction that would be refused."""


class DerivationError(BitcoinError):
    """A hierarchical key or path that cannot be derived."""
