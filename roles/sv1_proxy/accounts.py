"""Who miners are at the pool: themselves where it gives ehash, our account elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass

from protocols.ehash.key_text import encode_key
from roles.stratum.miner_identity import USER_BYTES, MinerIdentity
from shared_config.sv1_upstream import Sv1PoolSettings

__all__ = ["Accounts", "Name"]

_WORKER = "{worker}"


@dataclass(frozen=True, slots=True)
class Name:
    """What a miner is called at a pool; the password may hold its key and stays out of logs."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Name(user={self.user!r}, password=…)"


class Accounts:
    """Of pools by their name; one without an account gives ehash. `default` is who names itself nothing."""

    def __init__(self, pools: Iterable[Sv1PoolSettings], default: str) -> None:
        self._pools = {pool.label: pool for pool in pools}
        self._default = default

    def gives_ehash(self, pool: str) -> bool:
        """Whether miners have keys there."""
        return not self._pools[pool].user

    def name(self, pool: str, identity: MinerIdentity, key: bytes) -> Name:
        """A miner's at a pool; one that brought its key has that in front, so that no name has two keys."""
        account, own = self._pools[pool], identity.user or self._default
        if account.user:
            return Name(_short(account.user.replace(_WORKER, own)), account.password)
        text = encode_key(key)
        if identity.key is not None and not identity.key_in_user:
            own = f"{text}.{own}"
        return Name(_short(own), f"k={text}")


def _short(text: str) -> str:
    return text.encode("utf-8", "replace")[:USER_BYTES].decode("utf-8", "ignore")
