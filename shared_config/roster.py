"""The daemons that can be configured, each with the models of its two files; loaded only when asked for."""

import importlib
from typing import Final, NamedTuple, cast

from shared_config.miner_side import MinerSide
from shared_config.pool_side import PoolSide
from shared_config.settings import DaemonSettings, SharedSettings, Side

SHARED_MODELS: Final[dict[Side, type[SharedSettings]]] = {"pool": PoolSide, "miner": MinerSide}

_SETTINGS: Final = {
    "pool": "PoolSettings",
    "mint": "MintSettings",
    "template_provider": "TemplateProviderSettings",
    "regtest_node": "RegtestNodeSettings",
    "solo_pool": "SoloPoolSettings",
    "proxy": "ProxySettings",
    "translator": "TranslatorSettings",
    "cpu_miner": "CpuMinerSettings",
}
ROLES: Final = tuple(_SETTINGS)


class Models(NamedTuple):
    """The models of a daemon's own file and of its side's shared file."""

    own: type[DaemonSettings]
    shared: type[SharedSettings]


def models(role: str) -> Models:
    """The models of a daemon; raises KeyError when there is none of that name."""
    name = _SETTINGS[role]
    own = cast("type[DaemonSettings]", getattr(importlib.import_module(f"shared_config.{role}"), name))
    return Models(own, SHARED_MODELS[own.side])
