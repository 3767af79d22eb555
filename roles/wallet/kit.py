"""What every part of the wallet works with."""

from collections.abc import Callable
from dataclasses import dataclass

from roles.runtime.storage import Database
from roles.wallet.keyring import Keyring
from roles.wallet.keyset_book import KeysetBook
from roles.wallet.meters import Meters
from roles.wallet.mint_client import MintClient
from roles.wallet.mint_link import MintLink


@dataclass(frozen=True, slots=True)
class Kit:
    """Store, mint, keys and clock of one wallet; `clock_ms` is Unix time, `entropy` gives random bytes."""

    database: Database
    mint: MintClient
    link: MintLink
    keyring: Keyring
    keysets: KeysetBook
    meters: Meters
    clock_ms: Callable[[], int]
    entropy: Callable[[int], bytes]
