"""The key that an issuer signs its hello with, and that names its units, from start to start."""

from pathlib import Path

from protocols.bitcoin import secp256k1
from roles.runtime.errors import SecretUnusable
from roles.runtime.noise_identity import fresh_secret
from roles.runtime.secret import SecretFile

FILE_NAME = "identity.key"
LEDGER_NAME = "ledger.sqlite"


def issuer_secret(directory: Path) -> bytes:
    """The secret scalar, 32 bytes, kept as hex in the issuer's state; made when there is none.

    Another key is another issuer, with other units. Raises SecretUnusable for a file that others can read,
    that holds no key, or that is missing beside a ledger.
    """
    path = directory / FILE_NAME
    file = SecretFile(path, store=directory / LEDGER_NAME)
    secret = file.load_or_create_bytes(secp256k1.SECRET_SIZE, fresh_secret)
    if not secp256k1.is_secret(secret):
        raise SecretUnusable(f"{path} does not hold a key", hint="restore it from a backup")
    return secret
