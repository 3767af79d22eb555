"""The translator of the Stratum V2 reference implementation beside ours: in Rust, one process, no wallet."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.errors import DaemonFailed
from benchmarks.foreign_process import ForeignProcess, free_address, running
from benchmarks.site import Site
from protocols.noise.authority import encode_public, public_of
from roles.cli.foreign import ForeignMissing, sri_translator
from roles.runtime.authority import authority_secret
from roles.runtime.state import role_state
from shared_config.address import Address


@asynccontextmanager
async def running_sri_translator(site: Site, *, hashrate: float) -> AsyncIterator[ForeignProcess]:
    """The translator where the proxy of a site would be, at the same pool, a channel for each miner, which is
    taken to have so many hashes a second and one difficulty for good. Raises DaemonFailed.

    It takes each share for good, or refuses it, before the pool has heard of it.
    """
    try:
        program = await asyncio.to_thread(sri_translator)
    except ForeignMissing as missing:
        raise DaemonFailed(str(missing)) from missing
    address, home = free_address(), site.state / "sri-translator"
    home.mkdir(mode=0o700)
    config = home / "translator.toml"
    config.write_text(_config(site, address, hashrate))
    command = (str(program), "-c", str(config))
    async with running(
        "translator_sv2", command, address, home=home, environment={"RUST_LOG": "warn"}, ends_by=signal.SIGINT
    ) as translator:
        yield translator


def _config(site: Site, address: Address, hashrate: float) -> str:
    pool = site.shared_address("miner", "pool.address")
    authority = encode_public(public_of(authority_secret(role_state(site.state, "pool"))))
    return f"""\
downstream_address = "{address.host}"
downstream_port = {address.port}
max_supported_version = 2
min_supported_version = 2
downstream_extranonce2_size = 4
verify_payout = false
aggregate_channels = false
supported_extensions = []

[downstream_difficulty_config]
min_individual_miner_hashrate = {hashrate:.1f}
shares_per_minute = 6.0
enable_vardiff = false
job_keepalive_interval_secs = 60

[[upstreams]]
address = "{pool.host}"
port = {pool.port}
authority_pubkey = "{authority}"
user_identity = "rig"
"""
