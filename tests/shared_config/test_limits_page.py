"""docs/limits.md names every limit with its default, and only metrics that exist."""

import re
from pathlib import Path

import pytest

from shared_config.limits import ConnectionLimits, MiningLimits
from shared_config.mint import HttpLimits
from shared_config.pool import PoolLimits
from shared_config.proxy import EdgeLimits
from shared_config.settings import Settings
from shared_config.sockets import SocketLimits
from shared_config.sv1_listener import CostSettings, LineLimits
from shared_config.sv1_proxy_pool import CreditingLimits
from shared_config.sv1_upstream import UpstreamLimits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/limits.md").read_text()
TABLES: dict[type[Settings], str] = {
    ConnectionLimits: "limits",
    MiningLimits: "limits",
    PoolLimits: "limits",
    EdgeLimits: "limits",
    LineLimits: "limits",
    CreditingLimits: "limits",
    UpstreamLimits: "upstream_limits",
    CostSettings: "limits.cost",
    HttpLimits: "http",
    SocketLimits: "sockets",
}
NO_LIMITS = {"trusted_proxies", "cost"}


@pytest.mark.parametrize("model", TABLES)
def test_every_limit_stands_on_the_page_with_its_default(model: type[Settings]) -> None:
    for name, setting in model.model_fields.items():
        if name in NO_LIMITS:
            continue
        lines = [line for line in PAGE.splitlines() if f"`{TABLES[model]}.{name}`" in line]
        assert lines, f"{TABLES[model]}.{name} is not on the page"
        assert any(told in line for line in lines for told in texts_of(name, setting.default)), (
            f"{name}: {setting.default} is not on the page"
        )


def test_every_metric_on_the_page_exists() -> None:
    source = "".join(path.read_text() for path in (ROOT / "roles").rglob("*.py"))
    for name in set(re.findall(r"`hashpool_([a-z0-9_]+)", PAGE)):
        listener = name.removesuffix("_connections_ended")
        told = name.removeprefix("wallet_").removesuffix("_count")
        of_all = told.removeprefix("translator_").removeprefix("sv1_proxy_").removeprefix("proxy_")
        prefixed = f"{{prefix}}_{of_all}", f"{{PREFIX}}_{of_all}"
        texts = (f'"{listener}"', f'"{told}"', f'"hashpool_{told}"', f'"{of_all}"', *prefixed)
        assert any(text in source for text in texts), name


def texts_of(name: str, default: float) -> list[str]:
    """How a page for people may write a default."""
    told = f"{default:,.0f}"
    if name.endswith("_bytes"):
        return [f"{default / (1 << 20):.0f} MiB", f"{default / (1 << 10):.0f} KiB"]
    if name.endswith("_s") and not name.endswith("per_s"):
        return [f"{told} s", f"{default / 3600:.0f} h"]
    return [told]
