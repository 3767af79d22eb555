"""The wallet's seed: twelve BIP39 words, from which every token and every quote key can be found again."""

from pathlib import Path

from mnemonic import Mnemonic

from roles.runtime.errors import SecretUnusable
from roles.wallet.errors import SeedError

SEED_FILE = "seed.words"
ENTROPY_SIZE = 16
SEED_SIZE = 64
_HINT = (
    "12, 15, 18, 21 or 24 English words, separated by spaces, in the order in which they were written down"
)


def words_from_entropy(entropy: bytes) -> str:
    """The BIP39 phrase of `ENTROPY_SIZE` random bytes."""
    return Mnemonic("english").to_mnemonic(entropy)


def seed_from_words(words: str) -> bytes:
    """The 64-byte BIP39 seed of a phrase without a passphrase; raises SeedError, which quotes no word."""
    phrase = " ".join(words.lower().split())
    try:
        valid = Mnemonic("english").check(phrase)
    except (ValueError, LookupError):
        valid = False
    if not valid:
        raise SeedError("these words are no BIP39 phrase", hint=_HINT)
    return bytes(Mnemonic.to_seed(phrase))


def seed_from_file(words: str, path: Path) -> bytes:
    """As `seed_from_words`, of the phrase that a file holds; raises SecretUnusable, which names the file."""
    try:
        return seed_from_words(words)
    except SeedError as error:
        raise SecretUnusable(f"{path}: {error}", hint="restore it from a backup") from error
