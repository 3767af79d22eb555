from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import encode_key
from protocols.noise.authority import encode_public
from roles.pool.__main__ import main as pool_main
from roles.proxy.__main__ import main as proxy_main
from roles.runtime import sysexits
from roles.runtime.ban_list import BanList, Bans, open_bans, read_bans
from roles.runtime.daemon import Daemon
from roles.runtime.errors import OperatorError
from roles.translator.__main__ import main as translator_main
from shared_config.ban import BanSettings
from shared_config.miner_side import MinerSide
from shared_config.translator import TranslatorSettings

KEY = public_key(b"\x05" * 32)
OTHER = public_key(b"\x06" * 32)
AUTHORITY = encode_public(KEY[1:])
CONFIG = Path(__file__).parents[3] / "config"


def bans(**settings: object) -> Bans:
    return read_bans(BanSettings.model_validate(settings), Path)


def test_hosts_are_turned_away_by_address_and_by_network() -> None:
    found = bans(hosts=["192.0.2.7", "198.51.100.0/24", "2001:db8:1::/48"])
    for host in ("192.0.2.7", "::ffff:192.0.2.7", "198.51.100.255", "2001:db8:1:2::3", "2001:db8:1::1%eth0"):
        assert found.has_host(host), host
    for host in ("192.0.2.8", "198.51.101.0", "2001:db8:2::1", "", "nowhere"):
        assert not found.has_host(host), host
    assert not Bans().has_host("192.0.2.7")


def test_miners_are_turned_away_by_name_account_or_key() -> None:
    registry = CollectorRegistry()
    listed = BanList(registry, bans(names=["alice", "bob.rig", KEY.hex()]))
    assert listed.entries == 3
    for user in ("alice", "alice.rig", "bob.rig"):
        assert listed.bars_miner(user, None), user
    for user in ("bob", "bob.other", "alicette", "x.alice"):
        assert not listed.bars_miner(user, OTHER), user
    assert listed.bars_miner("carol", KEY)
    assert registry.get_sample_value("hashpool_banned_total", {"by": "name"}) == 3
    assert registry.get_sample_value("hashpool_banned_total", {"by": "key"}) == 1
    assert registry.get_sample_value("hashpool_ban_entries") == 3


def test_a_file_holds_more_of_both_with_words_for_people(tmp_path: Path) -> None:
    file = tmp_path / "bans.txt"
    lines = ("# spammers", "", "192.0.2.0/24  # since March", "mallory", encode_key(KEY), " 2001:db8::1 ")
    file.write_text("\n".join(lines))
    found = bans(hosts=["192.0.3.1"], file=str(file))
    assert found.has_host("192.0.2.200")
    assert found.has_host("192.0.3.1")
    assert found.has_host("2001:db8::1")
    assert found.names == {"mallory"}
    assert found.keys == {KEY}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("192.0.2.7/24\n", r"bans.txt:1: 192.0.2.7/24 is no network: .*host bits"),
        ("mallory\n" + KEY.hex()[:-2] + "\n", r"bans.txt:2: .* has 66 digits"),
        ("10.0.0.0/33", r"bans.txt:1"),
        (b"\xff\xfe", "no UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_line_that_means_nothing_is_named(tmp_path: Path, content: str | bytes | None, told: str) -> None:
    file = tmp_path / "bans.txt"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OperatorError, match=told):
        bans(file=str(file))


def settings(**given: object) -> TranslatorSettings:
    base = {"listen_address": "127.0.0.1:0", "health_address": "127.0.0.1:0"}
    return TranslatorSettings.model_validate(base | given)


SHARED = MinerSide.model_validate(
    {
        "pool": {"address": "127.0.0.1:1"},
        "mint": {"url": "http://127.0.0.1:1"},
        "proxy": {"address": "127.0.0.1:1"},
    }
)


def test_the_list_is_read_again_with_the_configuration_and_kept_if_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "bans.txt"
    file.write_text("192.0.2.7\n")
    config, told = settings(ban={"file": "bans.txt"}), []
    daemon = Daemon("translator", config, SHARED, tmp_path / "translator")
    listed = open_bans(daemon, CollectorRegistry())
    listed.changed.append(lambda: told.append(listed.entries))
    file.write_text("192.0.2.8\n192.0.2.9\n")
    daemon.take(config, SHARED)
    assert told == [2]
    assert not listed.bars_host("192.0.2.7")
    file.write_text("192.0.2.8/2\n")
    with pytest.raises(OperatorError):
        daemon.take(config, SHARED)
    assert listed.bars_host("192.0.2.8")
    daemon.take(settings(ban={"names": ["mallory"]}), SHARED)
    assert (listed.bars_host("192.0.2.8"), listed.bars_miner("mallory.1", None)) == (False, True)
    assert daemon.config.ban.names == ("mallory",)


@pytest.mark.parametrize("main", [pool_main, proxy_main, translator_main])
def test_check_looks_at_the_file(
    main: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    role = main.__module__.split(".")[1]
    side = "pool" if role == "pool" else "miner"
    files = ["-c", f"{CONFIG}/{role}.toml", "-g", f"{CONFIG}/shared/{side}.toml", "--state", str(tmp_path)]
    keys = {
        "pool": ["--set", f"shared.mint.authority_key={AUTHORITY}"],
        "proxy": ["--set", f"shared.pool.authority_key={AUTHORITY}"],
        "translator": [],
    }[role]
    arguments = [*files, *keys, "--check", "--set", "ban.file=bans.txt"]
    (tmp_path / "bans.txt").write_text("192.0.2.7/24\n")
    assert main(arguments) == sysexits.CONFIG
    assert "bans.txt:1: 192.0.2.7/24 is no network" in capsys.readouterr().err
    (tmp_path / "bans.txt").write_text("192.0.2.0/24\n")
    assert main(arguments) == sysexits.OK
