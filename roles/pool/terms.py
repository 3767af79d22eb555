"""On which terms the pool serves miners."""

from dataclasses import dataclass

from protocols.ehash.amount import Valuation
from protocols.mining.acknowledgement import MAX_BATCH, MAX_DELAY_MS
from protocols.mining.credit_target import CreditRule
from protocols.sv2.setup import REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION


@dataclass(slots=True)
class Terms:
    """What the configuration says about miners; `users` are the identities served, everybody if None.

    Some may change while the pool runs: whoever uses them looks at each use, or when a channel opens.
    """

    rule: CreditRule
    valuation: Valuation = Valuation.TARGET
    mint_url: str = ""
    shares_per_minute: float = 6.0
    keyless: bool = True
    users: frozenset[str] | None = None
    flags: int = REQUIRES_STANDARD_JOBS | REQUIRES_WORK_SELECTION | REQUIRES_VERSION_ROLLING
    channels: int = 16_384
    channels_of_host: int = 65_536
    shares_per_s: int = 5_000
    channel_shares_per_s: float = 100.0
    keys: int = 20_000
    ack_size: int = MAX_BATCH
    ack_delay_s: float = MAX_DELAY_MS / 1000
    setup_s: float = 10.0
    idle_s: float = 300.0
    """How long a connection may stay without a channel."""
