"""The pool of the Stratum V2 reference implementation beside ours: in Rust, encrypted, without a ledger."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.errors import DaemonFailed
from benchmarks.foreign_process import ForeignProcess, free_address, running
from benchmarks.site import Site
from protocols.noise.authority import encode_public, encode_secret, public_of
from roles.cli.foreign import ForeignMissing, sri_pool
from roles.runtime.authority import authority_secret
from roles.runtime.noise_identity import fresh_secret
from roles.runtime.state import role_state
from shared_config.address import Address

_REWARD: Final = "addr(bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202)"


@asynccontextmanager
async def running_sri_pool(
    site: Site, *, batch: int, shares_per_minute: int
) -> AsyncIterator[tuple[ForeignProcess, bytes]]:
    """The pool on templates of the site's template server, answering `batch` shares at a time, and the x-only
    key that vouches for it. Raises DaemonFailed.
    """
    try:
        program = await asyncio.to_thread(sri_pool)
    except ForeignMissing as missing:
        raise DaemonFailed(str(missing)) from missing
    secret, address = fresh_secret(), free_address()
    home = site.state / f"sri-{secrets.token_hex(4)}"
    home.mkdir(mode=0o700)
    config = home / "pool.toml"
    config.write_text(_config(site, secret, address, batch, shares_per_minute))
    command = (str(program), "-c", str(config))
    async with running(
        "pool_sv2", command, address, home=home, environment={"RUST_LOG": "warn"}, ends_by=signal.SIGINT
    ) as pool:
        yield pool, public_of(secret)


def _config(site: Site, secret: bytes, address: Address, batch: int, shares_per_minute: int) -> str:
    provider = site.shared_address("pool", "template_provider.address")
    provider_key = public_of(authority_secret(role_state(site.state, "template_provider")))
    return f"""\
authority_public_key = "{encode_public(public_of(secret))}"
authority_secret_key = "{encode_secret(secret)}"
cert_validity_sec = 3600
listen_address = "{address}"
coinbase_reward_script = "{_REWARD}"
server_id = 1
pool_signature = "benchmark"
shares_per_minute = {shares_per_minute}.0
share_batch_size = {batch}

[template_provider_type.Sv2Tp]
address = "{provider}"
public_key = "{encode_public(provider_key)}"
"""
