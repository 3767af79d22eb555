"""The composition root of the regtest node."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import closing
from logging import getLogger
from socket import socket
from typing import Any

from protocols.bitcoin.hashing import display
from roles.regtest_node import blockchain_methods, control_methods, mempool_methods, mining_methods
from roles.regtest_node.chainstate import Chainstate
from roles.regtest_node.cookie import SECRET_SIZE, Cookie
from roles.regtest_node.directory import ChainDirectory
from roles.regtest_node.errors import KernelFault
from roles.regtest_node.kernel import Entry, Kernel
from roles.regtest_node.metrics import Metrics
from roles.regtest_node.mining import Mining
from roles.regtest_node.rpc import Rpc
from roles.regtest_node.server import Bounds, RpcServer
from roles.regtest_node.thread import Node, NodeThread
from roles.regtest_node.tip_watch import TipWatch
from roles.runtime.daemon import Daemon
from roles.runtime.listen import bound, listen
from shared_config.pool_side import PoolSide
from shared_config.regtest_node import RegtestNodeSettings

log = getLogger(__name__)

METHODS = (
    *blockchain_methods.METHODS,
    *control_methods.METHODS,
    *mempool_methods.METHODS,
    *mining_methods.METHODS,
)


async def service(daemon: Daemon[RegtestNodeSettings, PoolSide]) -> None:
    """Runs the node until the daemon stops; raises OperatorError for what a person can mend."""
    daemon.readiness.declare("rpc")
    daemon.readiness.declare("chain")
    # Held first: until then nothing of another node's may be touched.
    with (
        closing(ChainDirectory(daemon.state)) as directory,
        closing(listen(daemon.config.rpc_address, "rpc_address")) as sock,
    ):
        await _serve(daemon, directory, sock)


async def _serve(
    daemon: Daemon[RegtestNodeSettings, PoolSide], directory: ChainDirectory, sock: socket
) -> None:
    config = daemon.config
    metrics, watch, thread = Metrics(daemon.metrics), TipWatch(), NodeThread()
    rpc = Rpc(thread, watch, daemon.stopping, METHODS, metrics, long_polls=config.long_polls)
    cookie = Cookie(daemon.state, secrets.token_bytes(SECRET_SIZE))
    bounds = Bounds(
        config.connections, config.work_queue + config.long_polls, config.body_bytes, config.body_s
    )
    kernel = Kernel(directory.chain)
    make = _maker(config, directory, kernel, watch, metrics)
    try:
        cookie.write()
        async with RpcServer(rpc, cookie, bounds, metrics).serving(sock):
            log.info("serving", extra={"rpc": f"http://{bound(sock)}"})
            daemon.readiness.met("rpc")
            daemon.readiness.unmet("chain", "loading")
            if await _opened(daemon, thread, kernel, make):
                daemon.readiness.met("chain")
                await _until(daemon.stopping, thread.failed)
            watch.close()
    finally:
        cookie.remove()
        await thread.close()


async def _opened(
    daemon: Daemon[RegtestNodeSettings, PoolSide],
    thread: NodeThread,
    kernel: Kernel,
    make: Callable[[], Node],
) -> bool:
    """Opens the chain; False when the daemon was told to stop before it was there."""
    opening: asyncio.Future[Any] = asyncio.ensure_future(thread.open(make))
    told: asyncio.Future[Any] = asyncio.ensure_future(daemon.stopping.wait())
    await asyncio.wait({opening, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not opening.done():
        kernel.interrupt()
    try:
        await opening
    except KernelFault:
        if not daemon.stopping.is_set():
            raise
    return not daemon.stopping.is_set()


def _maker(
    config: RegtestNodeSettings, directory: ChainDirectory, kernel: Kernel, watch: TipWatch, metrics: Metrics
) -> Callable[[], Node]:
    loop = asyncio.get_running_loop()

    def tell(tip: Entry) -> None:
        metrics.height.set(tip.height)
        loop.call_soon_threadsafe(watch.publish, tip.hash)

    def make() -> Node:
        started = time.monotonic()
        state = Chainstate(
            directory,
            kernel,
            time.time,
            tell,
            mempool_limit=config.mempool_transactions,
            checkpoint_blocks=config.checkpoint_blocks,
        )
        metrics.mempool.set_function(lambda: float(len(state.mempool)))
        tell(state.tip)
        elapsed = round(time.monotonic() - started, 3)
        log.info(
            "chain loaded",
            extra={"height": state.tip.height, "tip": display(state.tip.hash), "seconds": elapsed},
        )
        return Node(state, Mining(state))

    return make


async def _until(stopping: asyncio.Event, failed: asyncio.Future[None]) -> None:
    """Returns when told to stop; raises what the node has failed with."""
    told: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({told, failed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
    if failed.done():
        await failed
