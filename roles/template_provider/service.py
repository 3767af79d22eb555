"""The template provider put together."""

import asyncio
import logging

from protocols.noise.authority import encode_public, public_of
from roles.node_client.client import NodeClient
from roles.runtime import crash
from roles.runtime.authority import authority_secret
from roles.runtime.daemon import Daemon, DaemonSpec
from roles.runtime.peer_server import ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.sv2_connection import Sv2Connection, serve
from roles.template_provider.meters import Meters
from roles.template_provider.session import LIMIT, Session, Terms
from roles.templates import zmq_feed
from roles.templates.source import Pace, Source
from roles.templates.submission import Submitter, is_taken
from shared_config.pool_side import PoolSide
from shared_config.template_provider import TemplateProviderSettings

_log = logging.getLogger(__name__)


async def service(daemon: Daemon[TemplateProviderSettings, PoolSide]) -> None:
    """Serve until the daemon is told to stop, then wait for the node's verdict on blocks under way."""
    settings, shared = daemon.config, daemon.shared
    meters = Meters(daemon.metrics)
    secret = authority_secret(daemon.state)
    async with NodeClient.of(shared.node, daemon.state.parent) as node:
        pace = Pace(settings.fee_check_s)
        source = Source(node, shared.network, pace, readiness=daemon.readiness, meters=meters.node)

        def judged(verdict: str | None) -> None:
            crash.at("template_provider.block-judged")
            if is_taken(verdict):
                source.poke()

        submitter = Submitter(node, meters.node, judged)
        terms = Terms(settings.fee_gain_sat, settings.stale_template_s, settings.limits.handshake_s)

        async def handle(connection: Sv2Connection) -> None:
            session = Session(connection, source=source, submitter=submitter, meters=meters, terms=terms)
            await session.run()

        server = serve(
            settings.listen_address,
            secret,
            handle,
            limit=LIMIT,
            setting="listen_address",
            metrics=ServerMetrics(daemon.metrics, "template_provider"),
            server_limits=ServerLimits.of(settings.limits),
            stream_limits=StreamLimits.of(settings.limits),
            certificate_s=settings.certificate_validity_s,
        )
        _log.info(
            "serving templates",
            extra={"address": str(server.address), "authority_key": encode_public(public_of(secret))},
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(source.run()), group.create_task(server.run())]
                if settings.zmq_block_address is not None:
                    tasks.append(group.create_task(zmq_feed.follow(settings.zmq_block_address, source.poke)))
                await daemon.stopping.wait()
                for task in tasks:
                    task.cancel()
                await submitter.drain()
        finally:
            await submitter.close()


SPEC = DaemonSpec("template_provider", TemplateProviderSettings, PoolSide, service)
