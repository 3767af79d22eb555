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
    "sv1_proxy_pool": "Sv1ProxyPoolSettings",
    "proxy": "ProxySettings",
    "translator": "TranslatorSettings",
    "sv1_proxy_miner": "Sv1ProxyMinerSettings",
    "cpu_miner": "CpuMinerSettings",
}
ROLES: Final = tuple(_SETTINGS)
_INSTANCES: Final = {
    "sv1_proxy_pool": ("sv1_proxy", "sv1_proxy-pool"),
    "sv1_proxy_miner": ("sv1_proxy", "sv1_proxy-miner"),
}
"""Of one program with several files: its package, and the directory of their state."""


class Models(NamedTuple):
    """The models of a daemon's own file and of its side's shared file."""

    own: type[DaemonSettings]
    shared: type[SharedSettings]


def models(role: str) -> Models:
    """The models of a daemon; raises KeyError when there is none of that name."""
    name = _SETTINGS[role]
    own = cast("type[DaemonSettings]", getattr(importlib.import_module(f"shared_config.{role}"), name))
    return Models(own, SHARED_MODELS[own.side])


def package(role: str) -> str:
    """The package in `roles` that runs a daemon."""
    return _INSTANCES[role][0] if role in _INSTANCES else role


def directory(role: str) -> str:
    """The directory of a daemon's state, inside the one that all share."""
    return _INSTANCES[role][1] if role in _INSTANCES else role
