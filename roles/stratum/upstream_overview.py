"""What is told of the upstreams of a mining client."""

from protocols.ehash.messages import EXTENSION
from roles.stratum.latencies import Latencies
from roles.stratum.mining_client import MiningClient
from roles.stratum.overview import Upstream, Upstreams, latency

__all__ = ["upstreams"]


def upstreams(client: MiningClient, verdicts: Latencies) -> Upstreams:
    """The state of this moment."""
    present = next((each for each in client.upstreams if each.name == client.upstream), None)
    return Upstreams(
        upstream=client.upstream or None,
        since=present.since if present else None,
        knows_ehash=EXTENSION in client.extensions if present else None,
        failovers=client.failovers,
        channels=client.open_channels,
        verdicts=latency(verdicts),
        upstreams=[
            Upstream(
                name=each.name,
                state=each.state,
                since=each.since,
                turns=each.turns,
                failure=each.failure,
            )
            for each in client.upstreams
        ],
    )
