"""Errors of the wallet.

::

    WalletError
    ├── SeedError                 words that are no BIP39 phrase; a hint says what to do
    ├── StoreNotEmptyError        restore into a store that already holds something
    ├── IdentityLimitError        as many user identities as the wallet keeps keys for
    ├── KeyNotHeld                a key that is not of the seed, and whose secret is not at hand
    ├── NoKeysetError             the mint signs nothing in that unit now
    ├── RequestError              what a person asked for cannot be done as it stands
    │   ├── AmountError           an amount that is none, or that no token can have
    │   └── NotEnoughError        less is held than is to be paid
    ├── TokenError                a token that cannot be read, or is not what it says
    │   ├── ForeignTokenError     a token of another mint
    │   ├── TokenLockedError      a token that takes keys, a preimage or a time that are not there
    │   └── TokenSpentError       a token of which nothing is left
    ├── MintWaitsError            the mint did not answer; the request is in the store and is sent again
    └── MintError                 what the mint did, or did not
        ├── MintUnreachable       no answer, or "later" (429, 5xx): the same bytes may be sent again
        ├── MintRefused           an answer with a NUT error code: the request was not carried out
        └── MintDishonest         an answer that proves nothing: no DLEQ, a keyset unlike its id, wrong sums
"""

from roles.runtime import sysexits


class WalletError(Exception):
    """Root of the wallet's errors; `hint` says what a person can do, where there is something, `exit_code` is
    that of a command that ends with it.
    """

    hint = ""
    exit_code = sysexits.SOFTWARE

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class SeedError(WalletError):
    """Words that are no BIP39 phrase."""

    exit_code = sysexits.DATA


class StoreNotEmptyError(WalletError):
    """A restore into a store that already holds tokens, keys or counters."""

    exit_code = sysexits.CANT_CREATE


class IdentityLimitError(WalletError):
    """The wallet keeps keys for as many user identities as it is set to."""


class KeyNotHeld(WalletError):
    """A quote's key is not of the seed, and was not brought this time."""


class NoKeysetError(WalletError):
    """No active keyset for a unit."""


class RequestError(WalletError):
    """Something that a person asked for and that cannot be done as it stands."""

    exit_code = sysexits.DATA


class AmountError(RequestError):
    """An amount that is none, or that no token can have."""


class NotEnoughError(RequestError):
    """Less is held than is to be paid."""


class TokenError(WalletError):
    """A token that cannot be read, or is not what it says."""

    exit_code = sysexits.DATA


class ForeignTokenError(TokenError):
    """A token of another mint."""


class TokenLockedError(TokenError):
    """A token that takes keys, a preimage or a time that are not there."""


class TokenSpentError(TokenError):
    """A token of which nothing is left."""


class MintWaitsError(WalletError):
    """The mint did not answer; the request is in the store and is sent again, as it stands."""

    exit_code = sysexits.TEMPORARY


class MintError(WalletError):
    """Root of what goes wrong between the wallet and a mint."""

    exit_code = sysexits.UNAVAILABLE


class MintUnreachable(MintError):
    """The mint did not answer, or said "later"; whether it acted is unknown. `retry_after` is in seconds."""

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class MintRefused(MintError):
    """The mint refused: `code` is the NUTs' number (0 where they have none), `detail` its sentence."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"the mint refused with {code}: {detail}")
        self.code = code
        self.detail = detail


class MintDishonest(MintError):
    """An answer that does not prove what it says."""
