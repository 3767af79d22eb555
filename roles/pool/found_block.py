"""A share that is a block: its solution goes out before anything else is done with it."""

from typing import NamedTuple, Protocol, cast

from protocols.bitcoin.coinbase import add_witness
from protocols.bitcoin.header import Header, serialize_block
from protocols.mining.share import Verdict
from protocols.sv2.template_distribution import SubmitSolution
from roles.pool.template_link import Origin, TransactionShelf
from roles.pool.workshop import script_height
from roles.runtime import crash

_SCRIPT_AT = 42
"""Of a coinbase without witness: version, input count, null input and the script's length go before."""


class Provider(Protocol):
    """What a found block needs of the link that its template came on."""

    shelf: TransactionShelf

    def submit(self, block_hash: bytes, origin: Origin, solution: SubmitSolution) -> bool:
        """Send a solution; False if the link that its template came on is gone."""
        ...


class FoundBlock(NamedTuple):
    """A block, and whether its solution went out on the link that its template came on.

    `origin` and `coinbase` are what it can be made `whole` of, in the process that found it.
    """

    block_hash: bytes
    header: bytes
    height: int
    found_ms: int
    is_sent: bool
    origin: Origin | None = None
    coinbase: bytes = b""
    whole: bytes | None = None

    def assembled(self, shelf: TransactionShelf) -> "FoundBlock":
        """The same as a whole block, where its template's transactions are there by now."""
        if self.whole is not None or self.origin is None:
            return self
        transactions = shelf.get(self.origin)
        if transactions is None:
            return self
        return self._replace(whole=serialize_block(self.header, self.coinbase, transactions))


def send(verdict: Verdict, provider: Provider, found_ms: int) -> FoundBlock:
    """Send the solution of a block that was found at `found_ms` (Unix milliseconds)."""
    work, header = verdict.job.work, Header.parse(verdict.header)
    prefix, suffix = add_witness(work.prefix, work.suffix)
    coinbase = prefix + verdict.extranonce + suffix
    origin = cast("Origin", work.origin)
    solution = SubmitSolution(origin[1], header.version, header.time, header.nonce, coinbase)
    crash.at("pool.block-found")
    is_sent = provider.submit(verdict.share_hash, origin, solution)
    crash.once_sent("pool.solution-sent")
    height = script_height(work.prefix[_SCRIPT_AT:])
    return FoundBlock(verdict.share_hash, verdict.header, height, found_ms, is_sent, origin, coinbase)
