"""`hashpool generate-blocks [COUNT]`: have the regtest node make blocks that pay the pool's script."""

import asyncio
import sys
from pathlib import Path

from protocols.bitcoin.address import address_from_script
from protocols.bitcoin.descriptor import script_from_text
from roles.cli.checkout import STATE_HELP, development_state, home
from roles.cli.fleet import shifted
from roles.node_client.client import NodeClient
from roles.node_client.errors import NodeError
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from shared_config.errors import ConfigInvalid
from shared_config.loader import load
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

MAX_BLOCKS = 10_000


def main(argv: list[str]) -> int:
    """Print the new height; returns 0, or an exit code when the node or the configuration does not agree."""
    parser = Arguments(
        prog="hashpool generate-blocks", description="Have the regtest node make blocks that pay the pool."
    )
    parser.add_argument("count", nargs="?", type=int, default=1)
    parser.add_argument("--port-offset", type=int, default=0, metavar="N", help="that of the `up` asked for")
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    parser.add_argument(
        "--config", type=Path, default=home() / "config", metavar="DIR", help="by default config"
    )
    given = parser.parse_args(argv)
    if not 1 <= given.count <= MAX_BLOCKS:
        parser.error(f"COUNT is a number from 1 to {MAX_BLOCKS}")
    tree: Path = given.config
    state = development_state(given.state, given.port_offset)
    try:
        loaded = load(PoolSettings, tree / "pool.toml", PoolSide, tree / "shared" / "pool.toml")
        if loaded.config.coinbase_reward_script is None:
            raise ConfigInvalid(
                problem for problem in loaded.wanted if problem.key == "coinbase_reward_script"
            )
        height = asyncio.run(generate(loaded.config, loaded.shared, state, given.count, given.port_offset))
    except ConfigInvalid as error:
        print(error, file=sys.stderr)
        return sysexits.CONFIG
    except NodeError as error:
        print(f"hashpool generate-blocks: {error}", file=sys.stderr)
        return sysexits.UNAVAILABLE
    print(f"height {height}")
    return sysexits.OK


async def generate(own: PoolSettings, shared: PoolSide, state: Path, count: int, offset: int) -> int:
    """Make `count` blocks and return the height; raises NodeError."""
    script = script_from_text(own.coinbase_reward_script or "", shared.network)
    bitcoin = shared.node.model_copy(update={"rpc_url": shifted(shared.node.rpc_url, offset)})
    async with NodeClient.of(bitcoin, state) as node:
        await node.call("generatetoaddress", count, address_from_script(script, shared.network))
        return (await node.chain_info()).blocks
