"""A mint's end of the issuance link that says yes to every row, to measure what handing over costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.site import Site
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.messages import CreditResults, Credits
from protocols.noise.authority import public_of
from roles.credit.acceptor import ISSUANCE_LIMITS, Acceptor, Standing
from roles.credit.issuer_key import issuer_secret
from roles.runtime.authority import authority_secret
from roles.runtime.state import role_state
from roles.runtime.sv2_connection import serve

WINDOW = 16


class CreditSink:
    """Settles all rows at once and keeps their number."""

    def __init__(self) -> None:
        self.settled = 0
        self._moved = asyncio.Event()

    async def open_ledger(self, identity: bytes, store_id: bytes, next_seq: int) -> Standing:
        """Every ledger stands where it was left."""
        del identity, store_id, next_seq
        return Standing(self.settled, 0)

    async def settle(self, identity: bytes, store_id: bytes, credits_frame: Credits) -> CreditResults:
        """All is well."""
        del identity, store_id
        self.settled = credits_frame.first_seq + len(credits_frame.rows) - 1
        self._moved.set()
        return CreditResults(self.settled, ())

    async def wait_for(self, rows: int) -> None:
        """Wait until so many rows are settled."""
        while self.settled < rows:
            self._moved.clear()
            await self._moved.wait()


@asynccontextmanager
async def credit_sink(site: Site) -> AsyncIterator[CreditSink]:
    """A sink where the pool of a site looks for the mint's issuance link, with the key it expects."""
    sink = CreditSink()
    secret = authority_secret(role_state(site.state, "mint"))
    identity = public_key(issuer_secret(role_state(site.state, "pool")))
    acceptor = Acceptor(
        sink,
        [identity],
        authority=public_of(secret),
        quote_key=identity,
        mint_url="http://127.0.0.1",
        window=WINDOW,
    )
    server = serve(
        site.shared_address("pool", "mint.issuance_address"),
        secret,
        acceptor.serve,
        limit=ISSUANCE_LIMITS,
        setting="mint.issuance_address",
    )
    task = asyncio.create_task(server.run())
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.wait({task})
