"""The authority key of a listener: what its peers know it by, from start to start."""

from pathlib import Path

from protocols.noise.authority import decode_secret, encode_secret
from protocols.noise.errors import AuthorityKeyError
from roles.runtime.errors import SecretUnusable
from roles.runtime.noise_identity import fresh_secret
from roles.runtime.secret import SecretFile

FILE_NAME = "authority.key"


def authority_secret(directory: Path) -> bytes:
    """The secret scalar, 32 bytes, kept as Base58Check in a daemon's state; made when there is none.

    Raises SecretUnusable for a file that others can read, or that holds no key.
    """
    path = directory / FILE_NAME
    text = SecretFile(path).load_or_create(lambda: encode_secret(fresh_secret()))
    try:
        return decode_secret(text)
    except AuthorityKeyError as error:
        raise SecretUnusable(f"{path} does not hold a key", hint="restore it from a backup") from error
