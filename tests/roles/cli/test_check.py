import shutil
from pathlib import Path

import pytest

from roles.cli import check
from roles.runtime import sysexits

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / "config", ignore=shutil.ignore_patterns("prod")))


def lines(tree: Path, capsys: pytest.CaptureFixture[str], code: int) -> list[str]:
    assert check.main([str(tree)]) == code
    return [line.replace(f"{tree}/", "") for line in capsys.readouterr().out.splitlines()]


def test_the_development_tree_is_sound_but_for_keys_that_up_fills_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = lines(CONFIG, capsys, sysexits.OK)
    assert told[-1].endswith(
        "regtest_node, solo_pool, sv1_proxy_pool, proxy, translator, sv1_proxy_miner, cpu_miner are sound"
    )
    assert all(line.endswith("; hashpool up fills it in") for line in told[:-1])


def test_the_production_tree_lacks_what_only_its_operator_can_fill_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = lines(CONFIG / "prod", capsys, sysexits.CONFIG)
    assert [line.split(": ")[1] for line in told] == [
        "coinbase_reward_script",
        "mint.authority_key",
        "issuers.0.identity",
        "issuers.0.reward_script",
        "pools.0.user",
        "pool.authority_key",
    ]
    assert all("is missing" in line for line in told)


def test_all_problems_of_all_files_are_listed_and_a_shared_one_once(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "pool.toml").write_text(
        (tree / "pool.toml").read_text().replace("server_id = 1 ", "server_id = 900 ")
    )
    (tree / "translator.toml").write_text("x = =")
    shared = tree / "shared" / "pool.toml"
    shared.write_text(shared.read_text().replace('network = "regtest"', 'network = "mars"'))
    problems = [line for line in lines(tree, capsys, sysexits.CONFIG) if "is missing" not in line]
    assert len(problems) == 3
    assert any(line.startswith("pool.toml:3: server_id = 900: must be at most 255") for line in problems)
    assert any(line.startswith('shared/pool.toml:3: network = "mars": must be one of') for line in problems)
    assert any(line.startswith("translator.toml:1: is not TOML") for line in problems)


def test_two_daemons_on_one_port_are_found(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "proxy.toml"
    path.write_text(path.read_text().replace("127.0.0.1:9109", "0.0.0.0:9108"))
    assert (
        'proxy.toml:2: health_address = "0.0.0.0:9108": is also listened on by pool (health_address)'
        in lines(tree, capsys, sysexits.CONFIG)
    )


def test_files_that_nobody_reads_are_found(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "tproxy.toml").touch()
    (tree / "shared" / "mint.toml").touch()
    told = lines(tree, capsys, sysexits.CONFIG)
    assert "tproxy.toml: no daemon of this name reads it" in told
    assert "shared/mint.toml: no side of this name reads it" in told


def test_a_tree_of_one_side_alone_is_fine_and_wants_its_keys(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for role in ("pool", "mint", "template_provider", "regtest_node", "solo_pool", "sv1_proxy_pool"):
        (tree / f"{role}.toml").unlink()
    (tree / "shared" / "pool.toml").unlink()
    told = lines(tree, capsys, sysexits.CONFIG)
    assert len(told) == 1
    assert "pool.authority_key: is missing" in told[0]


def test_an_empty_tree_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no configuration" in lines(tmp_path, capsys, sysexits.CONFIG)[0]


def test_a_file_instead_of_its_directory_is_told(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = lines(tree / "pool.toml", capsys, sysexits.CONFIG)[0]
    assert told.endswith("pool.toml: is no directory (name the directory that it is in)")
