"""The development system on a site: daemons that know each other's keys, started side by side."""

import asyncio
from typing import Final

from roles.cli.fleet import SIDES, SV1
from roles.cli.keys import public_halves
from tests.functional.processes import Daemon, Site

_BLOCK: Final = "shared.regtest.block_difficulty"
REWARD: Final = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


class Development:
    """A site whose daemons trust each other; the mint knows ``issuers`` and the pool, or sv1_proxy."""

    def __init__(self, site: Site, *, issuers: tuple[bytes, ...] = (), sv1: bool = False) -> None:
        self.site = site
        self.keys = public_halves(site.state)
        self._issuers = (self.keys.issuer, *(identity.hex() for identity in issuers))
        self._of_sv1 = public_halves(site.state, SV1).sv1_issuer if sv1 else ""
        self.daemons: dict[str, Daemon] = {}

    def daemon(self, role: str, name: str | None = None, **settings: str) -> Daemon:
        """A daemon that is not started yet; see `Site.daemon`."""
        keys = self.keys
        if SIDES[role] == "pool":
            known = {
                "shared__mint__authority_key": keys.mint,
                "shared__template_provider__authority_key": keys.template_provider,
            }
        else:
            known = {"shared__pool__authority_key": keys.pool, "shared__proxy__authority_key": keys.proxy}
        if role == "mint":
            tables = [f'{{identity = "{key}", reward_script = "{REWARD}"}}' for key in self._issuers]
            if self._of_sv1:
                tables = [f'{{identity = "{self._of_sv1}", reward = "payments"}}']
            known["issuers"] = f"[{', '.join(tables)}]"
        daemon = self.site.daemon(role, name, **known | settings)
        self.daemons[daemon.name] = daemon
        self._agree()
        return daemon

    def _agree(self) -> None:
        """Have mints count shifts as the pools do: it is one file that both read."""
        for pool in self.daemons.values():
            if pool.role in {"pool", "sv1_proxy_pool"} and _BLOCK in pool.settings:
                for mint in self.daemons.values():
                    if mint.role == "mint":
                        mint.settings[_BLOCK] = pool.settings[_BLOCK]

    async def start(self) -> None:
        """Start every daemon that has been named, all at once, and wait until all are ready."""
        for daemon in self.daemons.values():
            if not daemon.is_running:
                daemon.start()
        await asyncio.gather(*(daemon.ready() for daemon in self.daemons.values()))
