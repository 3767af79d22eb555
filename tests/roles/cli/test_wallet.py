import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from roles.cli.wallet import main
from roles.wallet.seed import SEED_FILE
from tests.roles.wallet.conftest import WORDS, Clock, Home, Told, clock, home, mint, tell
from tests.roles.wallet.fake_mint import FakeMint

__all__ = ["clock", "home", "mint", "tell"]

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, clock: Clock) -> Run:
    # The command goes by the machine's clock, and a look-up is signed with the time.
    clock.ms = time.time_ns() // 1_000_000

    async def run(*argv: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*argv, "--state", str(tmp_path)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def last(out: str) -> Any:
    return json.loads(out.splitlines()[-1])


async def test_balance_and_list_are_read_beside_a_live_wallet(
    run: Run, home: Home, mint: FakeMint, tell: Told
) -> None:
    wallet = await home.open("proxy")
    await tell(wallet, 1, 7)
    await wallet.minter.mint_due()
    await wallet.key_for("\x1b[31mbob[bold]")
    code, out, _ = await run("balance", "--json")
    assert code == 0
    assert last(out)["balance"] == 7
    code, out, _ = await run("list", "--json")
    told = last(out)
    assert [(worker["name"], worker["minted"]) for worker in told["workers"]] == [
        ("alice", 7),
        ("\x1b[31mbob[bold]", 0),
    ]
    assert [(size["amount"], size["count"]) for size in told["tokens"]] == [(1, 1), (2, 1), (4, 1)]
    held = await wallet.kit.database.read(lambda c: c.execute("SELECT secret FROM proof").fetchall())
    assert not any(row["secret"] in out for row in held)
    code, out, _ = await run("list")
    assert code == 0
    assert "alice" in out
    assert "\x1b" not in out
    assert "bob[bold]" in out


async def test_restore_from_a_file_of_words_finds_the_balance(
    run: Run, home: Home, mint: FakeMint, tell: Told, tmp_path: Path
) -> None:
    wallet = await home.open("old")
    for number in range(5):
        await tell(wallet, number, 5)
    await wallet.minter.mint_due()
    await tell(wallet, 9, 3)
    words = tmp_path / "words"
    words.write_text(f"  {WORDS.upper()}\n")
    code, out, _ = await run("restore", "--json", "--words", str(words), "--mint", home.url)
    assert code == 0
    assert last(out)["balance"] == mint.issued() == 28
    kept = tmp_path / "proxy" / SEED_FILE
    assert kept.read_text().strip() == WORDS
    assert kept.stat().st_mode & 0o777 == 0o600
    code, out, _ = await run("restore", "--words", str(words), "--mint", home.url)
    assert code == 0
    assert "28 ehash" in out


async def test_restore_reads_the_words_from_stdin(
    run: Run, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(WORDS))
    code, out, _ = await run("restore", "--json", "--mint", home.url)
    assert code == 0
    assert last(out)["balance"] == 0


async def test_restore_refuses_a_store_that_belongs_to_another_seed(
    run: Run, home: Home, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    words.write_text("half depart obvious quality work element tank gorilla view sugar picture humble")
    wallet = await home.open("proxy")
    await wallet.key_for("alice")
    wallet.kit.database.close()
    code, _, err = await run("restore", "--words", str(words), "--mint", home.url)
    assert code == 73
    assert "--state" in err
    assert not (tmp_path / "proxy" / SEED_FILE).exists()
    (tmp_path / "proxy" / SEED_FILE).write_text(WORDS)
    (tmp_path / "proxy" / SEED_FILE).chmod(0o600)
    code, _, err = await run("restore", "--words", str(words), "--mint", home.url)
    assert code == 73
    assert "another seed" in err


async def test_restore_beside_a_live_proxy_is_refused(run: Run, home: Home, tmp_path: Path) -> None:
    await home.open("proxy")
    words = tmp_path / "words"
    words.write_text(WORDS)
    code, _, err = await run("restore", "--words", str(words), "--mint", home.url)
    assert code == 75
    assert "in use" in err


@pytest.mark.parametrize(("content", "code"), [("one two three", 65), (None, 66)])
async def test_words_that_are_none_are_refused(
    run: Run, tmp_path: Path, content: str | None, code: int
) -> None:
    words = tmp_path / "words"
    if content is not None:
        words.write_text(content)
    found, _, err = await run("restore", "--words", str(words), "--mint", "http://127.0.0.1:1")
    assert found == code
    assert "three" not in err


async def test_a_mint_that_is_away_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr("roles.cli.wallet.PATIENCE", ())
    words = tmp_path / "words"
    words.write_text(WORDS)
    code, _, err = await run("restore", "--words", str(words), "--mint", "http://127.0.0.1:1")
    assert code == 69
    assert "does not answer" in err


async def test_without_a_store_the_hint_says_when_there_will_be_one(run: Run) -> None:
    code, _, err = await run("balance")
    assert code == 66
    assert "proxy" in err
