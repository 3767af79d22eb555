"""The settings with which `hashpool up` starts the daemons of a tree."""

import itertools
import shutil
from pathlib import Path

import pytest

from roles.cli.fleet import Fleet, PublicHalves
from shared_config.errors import ConfigInvalid

CONFIG = Path(__file__).parents[3] / "config"
KEYS = PublicHalves(mint="M", template_provider="T", pool="P", proxy="X", issuer="02" * 33)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def drop(file: Path, start: str) -> None:
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith(start)))


def settings(tree: Path, role: str, offset: int) -> list[str]:
    members = Fleet(tree, tree / "state", offset, KEYS).members()
    (command,) = (member.command for member in members if member.role == role)
    return [value for flag, value in itertools.pairwise(command) if flag == "--set"]


def test_a_port_offset_moves_every_address_that_a_file_names(tree: Path) -> None:
    assert settings(tree, "proxy", 1000) == [
        "listen_address=127.0.0.1:35256",
        "health_address=127.0.0.1:10109",
        "wallet_api.address=127.0.0.1:9083",
        "shared.pool.address=127.0.0.1:35254",
        "shared.mint.url=http://127.0.0.1:4338",
        "shared.proxy.address=127.0.0.1:35256",
        "shared.pool.authority_key=P",
        "shared.proxy.authority_key=X",
    ]


def test_an_address_that_is_left_out_stays_out(tree: Path) -> None:
    drop(tree / "proxy.toml", "address")
    drop(tree / "shared" / "miner.toml", 'address = "127.0.0.1:34254"')
    told = settings(tree, "proxy", 1000)
    assert not [value for value in told if value.startswith(("wallet_api", "shared.pool.address"))]


@pytest.mark.parametrize(
    ("file", "start", "told"),
    [
        ("pool.toml", "health_address", "health_address: is missing"),
        ("mint.toml", "reward_script", "issuers.0.reward_script: is missing"),
    ],
)
def test_what_no_daemon_can_be_started_without_is_named_with_its_file(
    tree: Path, file: str, start: str, told: str
) -> None:
    drop(tree / file, start)
    with pytest.raises(ConfigInvalid, match=rf"{file}.*{told}"):
        Fleet(tree, tree / "state", 0, KEYS).members()
