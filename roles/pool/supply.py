"""Where work comes from: the link to the template provider, and the workshop behind it."""

import asyncio
from collections.abc import Callable

from protocols.bitcoin.descriptor import script_from_text
from protocols.bitcoin.errors import CoinbaseError
from protocols.mining.job import coinbase_tag
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION
from roles.pool.errors import RewardUnusable
from roles.pool.meters import Meters
from roles.pool.template_link import TemplateLink
from roles.pool.workshop import Workshop
from roles.runtime.neighbour import dialler
from roles.runtime.readiness import Readiness
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

TEMPLATE_UNREAD = 1 << 25
"""Bytes that a template provider may send ahead of us: a whole block's transactions, and then some."""
LONGEST_TAG = 0xFFFFFFFF


class Supply:
    """Templates in, work out; `listeners` hear of other work, with True if a new tip came with it."""

    def __init__(
        self, config: PoolSettings, shared: PoolSide, script: bytes, *, readiness: Readiness, meters: Meters
    ) -> None:
        self.has_work = asyncio.Event()
        self.listeners: list[Callable[[bool], None]] = []
        self.workshop = Workshop(
            script,
            config.coinbase_tag,
            block_hashes=shared.regtest.block_difficulty if shared.regtest else None,
            listener=self._work_changed,
        )
        provider = shared.templates
        self.link = TemplateLink(
            dialler(provider.address, provider.authority_key, TEMPLATE_DISTRIBUTION, TEMPLATE_UNREAD),
            self.workshop,
            script,
            readiness=readiness,
            meters=meters,
        )

    def _work_changed(self, is_new_tip: bool) -> None:
        for listener in self.listeners:
            listener(is_new_tip)
        self.has_work.set()


def reward_script(config: PoolSettings, shared: PoolSide) -> bytes:
    """The script that rewards go to; raises RewardUnusable when no coinbase can be made as configured."""
    if config.coinbase_reward_script is None:
        raise RewardUnusable("coinbase_reward_script is missing", hint="an address or descriptor of yours")
    try:
        coinbase_tag(config.coinbase_tag, LONGEST_TAG)
    except CoinbaseError as error:
        raise RewardUnusable(f"coinbase_tag is too long: {error}", hint="shorten coinbase_tag") from error
    return script_from_text(config.coinbase_reward_script, shared.network)
