"""The settings with which `hashpool up` starts the daemons of a tree."""

import itertools
import shutil
from pathlib import Path

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.noise.authority import encode_public, public_of
from roles.cli.fleet import PROFILES, Fleet, Profile, PublicHalves
from shared_config.errors import ConfigInvalid

CONFIG = Path(__file__).parents[3] / "config"
KEYS = PublicHalves(mint="M", template_provider="T", pool="P", proxy="X", issuer="02" * 33)

SECRET = bytes(31) + b"\x01"
AUTHORITY = encode_public(public_of(SECRET))
ISSUER = public_key(SECRET).hex()
SOUND = PublicHalves(
    mint=AUTHORITY,
    template_provider=AUTHORITY,
    pool=AUTHORITY,
    proxy=AUTHORITY,
    issuer=ISSUER,
    sv1_issuer=ISSUER,
)


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


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("offset", [0, 1000])
def test_the_tree_that_is_shipped_has_nothing_that_keeps_a_daemon_from_starting(
    tree: Path, profile: Profile, offset: int
) -> None:
    Fleet(tree, tree / "state", offset, SOUND, profile).check()


def test_what_keeps_any_daemon_from_starting_is_told_at_once_and_one_time(tree: Path) -> None:
    for file, faulty in (("translator.toml", "minres = 1\n"), ("shared/pool.toml", "netwrok = 'regtest'\n")):
        (tree / file).write_text(faulty + (tree / file).read_text())
    with pytest.raises(ConfigInvalid) as caught:
        Fleet(tree, tree / "state", 0, SOUND).check()
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2
    assert any("pool.toml:1" in problem and "did you mean network" in problem for problem in told)
    assert any("translator.toml:1" in problem and "minres" in problem for problem in told)
