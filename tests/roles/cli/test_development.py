import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import MAX_TARGET
from protocols.ehash.amount import Valuation
from roles.cli import clean, db, generate_blocks, set_min_diff, start
from roles.cli.checkout import development_state, home
from roles.cli.claim import Claim
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry
from roles.credit.shift_roll import Pricing
from roles.pool.schema import MIGRATIONS
from roles.runtime import sysexits
from roles.runtime.http import HttpBounds, HttpServer, json_reply, read_json
from roles.runtime.storage import Database
from shared_config.address import Address
from shared_config.loader import load
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CREDENTIALS_DIRECTORY", "HASHPOOL_STATE"):
        monkeypatch.delenv(name, raising=False)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def fill(state: Path) -> None:
    for name in (
        "mint/mint.sqlite",
        "mint/mint.sqlite-wal",
        "mint/seed.key",
        "proxy/wallet.sqlite",
        "proxy/seed.words",
        "pool/ledger.sqlite",
        "regtest_node/chain/blocks/x",
        "regtest_node/.cookie",
        "logs/pool.log",
        "up.lock",
    ):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).touch()


@pytest.mark.parametrize(
    ("part", "gone"),
    [
        ("cashu", {"mint/mint.sqlite", "mint/mint.sqlite-wal", "proxy/wallet.sqlite"}),
        ("regtest", {"regtest_node/chain/blocks/x", "regtest_node/.cookie"}),
        ("logs", {"logs/pool.log"}),
        ("testnet4", set()),
    ],
)
def test_cleaning_deletes_its_part_and_never_a_key_or_seed(tmp_path: Path, part: str, gone: set[str]) -> None:
    fill(tmp_path)
    before = files(tmp_path)
    assert clean.main([part, "--yes", "--state", str(tmp_path)]) == sysexits.OK
    assert set(before) - set(files(tmp_path)) == gone


def test_cleaning_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    assert clean.main(["logs", "--yes", "--state", str(tmp_path / "none")]) == sysexits.OK
    assert files(tmp_path) == []


def test_cleaning_asks_and_takes_silence_for_no(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    before = files(tmp_path)
    assert clean.main(["cashu", "--state", str(tmp_path)]) == sysexits.USAGE
    assert "nothing was deleted" in capsys.readouterr().err
    assert set(before) <= set(files(tmp_path))


def test_nothing_is_cleaned_under_a_running_system_or_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Claim(tmp_path):
        assert clean.main(["logs", "--yes", "--state", str(tmp_path)]) == sysexits.TEMPORARY
    (tmp_path / "mint").mkdir()
    database = Database.open(tmp_path / "mint" / "mint.sqlite", [])
    assert clean.main(["cashu", "--yes", "--state", str(tmp_path)]) == sysexits.TEMPORARY
    assert "mint is running" in capsys.readouterr().err
    database.close()
    assert clean.main(["cashu", "--yes", "--state", str(tmp_path)]) == sysexits.OK


def test_a_store_is_looked_into_read_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mint").mkdir()
    sql = "CREATE TABLE t (a INTEGER, b BLOB); INSERT INTO t VALUES (1, x'ff00');"
    Database.open(tmp_path / "mint" / "mint.sqlite", [(1, "t", sql)]).close()
    assert db.main(["mint", "--state", str(tmp_path)]) == sysexits.OK
    assert "CREATE TABLE t (a INTEGER, b BLOB);\n" in capsys.readouterr().out
    assert db.main(["mint", "SELECT * FROM t", "--state", str(tmp_path)]) == sysexits.OK
    assert capsys.readouterr().out == "a\tb\n1\tff00\n"
    assert db.main(["mint", "DELETE FROM t", "--state", str(tmp_path)]) == sysexits.DATA
    assert "readonly" in capsys.readouterr().err


def test_names_that_strangers_gave_move_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mint").mkdir()
    Database.open(tmp_path / "mint" / "mint.sqlite", []).close()
    query = "SELECT char(27) || '[2J' AS name, 'two' || char(9, 10) || 'words' AS memo"
    assert db.main(["mint", query, "--state", str(tmp_path)]) == sysexits.OK
    assert capsys.readouterr().out == "name\tmemo\n\\x1b[2J\ttwo\\t\\nwords\n"


def test_a_store_that_is_not_there_yet_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert db.main(["wallet", "--state", str(tmp_path)]) == sysexits.NO_INPUT
    assert "made when the system first runs" in capsys.readouterr().err


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def test_set_min_diff_changes_one_number_and_keeps_the_comments(tree: Path, tmp_path: Path) -> None:
    path = tree / "shared" / "pool.toml"
    before = path.read_text().splitlines()
    assert set_min_diff.main(["12", "--config", str(tree), "--state", str(tmp_path)]) == sysexits.OK
    after = path.read_text().splitlines()
    assert [(old, new) for old, new in zip(before, after, strict=True) if old != new] == [
        (
            "minimum_difficulty = 8      # bits: one ehash is 2^minimum_difficulty hashes",
            "minimum_difficulty = 12      # bits: one ehash is 2^minimum_difficulty hashes",
        )
    ]
    assert load(PoolSettings, tree / "pool.toml", PoolSide, path).shared.ehash.minimum_difficulty == 12


async def test_set_min_diff_says_that_it_counts_from_the_next_shift(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pool").mkdir()
    key = public_key(bytes(31) + b"\x01")
    async with Database.open(tmp_path / "pool" / "ledger.sqlite", MIGRATIONS) as database:
        ledger = await Ledger.open(database, key, Pricing(8, Valuation.TARGET))
        await ledger.append([Entry(sha256d(bytes(80)), bytes(80), MAX_TARGET, 5, key, False)])
    options = ["--config", str(tree), "--state", str(tmp_path)]
    assert set_min_diff.main(["10", *options]) == sysexits.OK
    said = capsys.readouterr().out
    assert "minimum_difficulty = 10" in said
    assert "the open shift goes on in units of 2^8 hashes" in said
    assert set_min_diff.main(["8", *options]) == sysexits.OK
    assert "open shift" not in capsys.readouterr().out


def test_set_min_diff_leaves_a_file_alone_that_is_not_sound(tree: Path, tmp_path: Path) -> None:
    path = tree / "shared" / "pool.toml"
    path.write_text(path.read_text() + "\n[unknown]\n")
    before = path.read_text()
    assert set_min_diff.main(["12", "--config", str(tree), "--state", str(tmp_path)]) == sysexits.CONFIG
    assert path.read_text() == before


def test_start_becomes_the_daemon_with_the_settings_of_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []

    class Exec(Exception):
        pass

    def execv(_: str, command: list[str]) -> None:
        became.append(list(command))
        raise Exec

    monkeypatch.setattr("os.execv", execv)
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(Exec):
        start.main(["pool", "--state", str(tmp_path), "--port-offset", "100"])
    command = became[0]
    assert command[1:3] == ["-m", "roles.pool"]
    assert "listen_address=127.0.0.1:34354" in command
    assert any(word.startswith("shared.mint.authority_key=9") for word in command)


def test_the_state_directory_is_the_one_that_up_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert development_state(None, 0) == home() / ".state"
    assert development_state(None, 7) == home() / ".state" / "offset-7"
    monkeypatch.setenv("HASHPOOL_STATE", str(tmp_path))
    assert development_state(None, 7) == tmp_path
    assert development_state("/x", 7) == Path("/x")


@contextlib.contextmanager
def cookie(state: Path) -> Iterator[None]:
    (state / "regtest_node").mkdir()
    (state / "regtest_node" / ".cookie").write_text("__cookie__:secret")
    yield


@pytest.fixture
async def node() -> AsyncIterator[tuple[Address, list[object]]]:
    calls: list[object] = []

    async def answer(request: web.Request) -> web.Response:
        call = await read_json(request)
        calls.append((call["method"], call["params"]))
        if call["method"] == "generatetoaddress":
            return json_reply({"id": call["id"], "result": [], "error": None})
        info = {
            "chain": "regtest",
            "blocks": 3,
            "headers": 3,
            "bestblockhash": "00" * 32,
            "bits": "207fffff",
            "mediantime": 1,
            "time": 1,
            "initialblockdownload": False,
        }
        return json_reply({"id": call["id"], "result": info, "error": None})

    server = HttpServer(HttpBounds(), CollectorRegistry())
    server.route("POST", "/", answer)
    yield await server.start(Address("127.0.0.1", 0)), calls
    await server.close()


async def test_generated_blocks_pay_the_pools_script(
    tree: Path, tmp_path: Path, node: tuple[Address, list[object]]
) -> None:
    address, calls = node
    loaded = load(
        PoolSettings,
        tree / "pool.toml",
        PoolSide,
        tree / "shared" / "pool.toml",
        overrides=[f"shared.bitcoin.rpc_url=http://{address}"],
    )
    with cookie(tmp_path):
        assert await generate_blocks.generate(loaded.config, loaded.shared, tmp_path, 5, 0) == 3
    assert json.loads(json.dumps(calls[0])) == [
        "generatetoaddress",
        [5, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"],
    ]


def test_generating_blocks_without_a_node_says_what_is_missing(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["1", "--config", str(tree), "--state", str(tmp_path)]
    assert generate_blocks.main(arguments) == sysexits.UNAVAILABLE
    assert "no cookie" in capsys.readouterr().err
