"""What an instance tells of its pools and of its connections with them, under its health address."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from protocols.translation.errors import ExtranonceTooSmall
from roles.runtime.api import Answer, Api, Endpoint
from roles.runtime.readiness import Readiness
from roles.stratum.latencies import Latencies
from roles.stratum.lodger import Lodger
from roles.stratum.miner_pages import Key
from roles.stratum.overview import Miner, Upstream, Upstreams, latency
from roles.stratum.reception_pages import ReceptionPages
from roles.stratum.trunk import Trunk
from roles.stratum.trunks import Trunks
from roles.sv1_proxy.relay import Relay

__all__ = ["InstancePages", "TrunkPage", "upstreams"]

Count = Annotated[int, Field(ge=0)]


class TrunkView(Answer):
    """One connection with the pool in use."""

    connected: bool
    miners: Count
    """With an extranonce on it, those included whose socket is gone and who may come back."""
    extranonce2_bytes: Count | None
    """What the pool grants; null before it has."""
    slice_bytes: Count | None
    """Of it, what tells a miner that comes now from others; null where there is room for none."""
    rolled_bytes: Count | None
    """And what is left for the miner to roll."""


class TrunkPage(Answer):
    """The connections with the pool in use, the first one first."""

    pool: str | None
    """The name of the pool; null while there is none."""
    trunks: list[TrunkView]


def upstreams(trunks: Trunks, gives_ehash: Callable[[str], bool], verdicts: Latencies) -> Upstreams:
    """The pools at this moment; `verdicts` is how long their word takes."""
    present = next((each for each in trunks.upstreams if each.name == trunks.upstream), None)
    return Upstreams(
        upstream=trunks.upstream or None,
        since=present.since if present else None,
        knows_ehash=gives_ehash(present.name) if present else None,
        failovers=trunks.failovers,
        channels=sum(trunk.is_connected for trunk in trunks),
        verdicts=latency(verdicts),
        upstreams=[
            Upstream(
                name=each.name, state=each.state, since=each.since, turns=each.turns, failure=each.failure
            )
            for each in trunks.upstreams
        ],
    )


class InstancePages(ReceptionPages):
    """Miners, pools, and the connections with the pool in use."""

    def __init__(
        self,
        relay: Relay[Any],
        trunks: Trunks,
        readiness: Readiness,
        show_peer: Callable[[str], str | None],
        *,
        gives_ehash: Callable[[str], bool],
        earned: Callable[[Any], int | None],
    ) -> None:
        told = partial(upstreams, trunks, gives_ehash)
        super().__init__("sv1_proxy", relay, readiness, show_peer, told, purpose="The pools.")
        self._relay = relay
        self._trunks = trunks
        self._earned = earned

    def serve(self, api: Api) -> None:
        """Answer for all of it."""
        super().serve(api)
        sentence = "The connections with the pool in use, and how its extranonce is shared out."
        api.add(Endpoint("/api/v1/trunks", sentence, TrunkPage, lambda _: self.trunks()))

    def describe(self, key: Key, miner: Lodger) -> Miner:
        """What is told of one miner, with what its key has earned."""
        told = super().describe(key, miner)
        earned = self._earned(miner)
        return told if earned is None else told.model_copy(update={"worker_ehash": earned})

    def trunks(self) -> TrunkPage:
        """The connections with the pool in use."""
        return TrunkPage(
            pool=self._trunks.upstream or None, trunks=[self._view(trunk) for trunk in self._trunks]
        )

    def _view(self, trunk: Trunk) -> TrunkView:
        size = trunk.granted.extranonce2_size if trunk.granted else None
        try:
            layout = None if size is None else self._relay.slicing.layout(size)
        except ExtranonceTooSmall:
            layout = None
        return TrunkView(
            connected=trunk.is_connected,
            miners=len(self._relay.on(trunk)),
            extranonce2_bytes=size,
            slice_bytes=layout.slice_size if layout else None,
            rolled_bytes=layout.extranonce2_size if layout else None,
        )
