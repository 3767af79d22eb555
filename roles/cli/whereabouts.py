"""In which directories of the state there is a ledger or a daemon's wallet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from roles.credit.issuer_key import LEDGER_NAME
from roles.wallet.wallet import STORE_NAME
from shared_config.roster import directory

# Those of the SV2 daemons first, then sv1_proxy's.
ISSUERS: Final = ("pool", directory("sv1_proxy_pool"))
WALLETS: Final = ("proxy", directory("sv1_proxy_miner"))


def issuers(state: Path) -> list[str]:
    """The directories that hold a ledger."""
    return _holding(state, ISSUERS, LEDGER_NAME)


def wallets(state: Path) -> list[str]:
    """The directories that hold the wallet of a daemon."""
    return _holding(state, WALLETS, STORE_NAME)


def wallet(state: Path) -> str:
    """The directory of the daemon's wallet that is meant where none is named."""
    return _meant(state, wallets(state), WALLETS)


def issuer(state: Path) -> str:
    """The directory of the ledger that is meant where none is named."""
    return _meant(state, issuers(state), ISSUERS)


def _meant(state: Path, holding: Sequence[str], directories: Sequence[str]) -> str:
    existing = (each for each in directories if (state / each).exists())
    return next(iter(holding), None) or next(existing, directories[0])


def _holding(state: Path, directories: Sequence[str], name: str) -> list[str]:
    return [each for each in directories if (state / each / name).exists()]
