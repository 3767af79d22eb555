"""send, receive, history, consolidate, backup: by an open store, and over the socket of who has it open."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from roles.cli.wallet import main
from roles.wallet.desk import Desk
from roles.wallet.seed import SEED_FILE
from roles.wallet.wallet import Wallet
from roles.wallet.window import SOCKET_NAME, Window
from tests.roles.wallet.conftest import WORDS, Clock, Home, Told, clock, home, mint, tell
from tests.roles.wallet.fake_mint import UNIT, FakeMint, lose

__all__ = ["clock", "home", "mint", "tell"]

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Home, monkeypatch: Any) -> Run:
    monkeypatch.setattr("roles.cli.wallet_reach.PATIENCE", ())

    async def run(action: str, *argv: str) -> tuple[int, str, str]:
        aim = ["--mint", home.url] if action in {"send", "receive", "consolidate", "list"} else []
        code = await asyncio.to_thread(main, [action, *argv, *aim, "--state", str(tmp_path)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def last(out: str) -> Any:
    return json.loads(out.splitlines()[-1])


@pytest.fixture
async def store(home: Home, tell: Told, tmp_path: Path, clock: Clock) -> Path:
    """The proxy's wallet with 21 ehash, closed as when no proxy runs."""
    clock.ms = time.time_ns() // 1_000_000
    wallet = await home.open("proxy")
    await tell(wallet, 1, 21)
    await wallet.minter.mint_due()
    await asyncio.to_thread(wallet.kit.database.close)
    (tmp_path / "proxy" / SEED_FILE).write_text(WORDS)
    (tmp_path / "proxy" / SEED_FILE).chmod(0o600)
    return tmp_path / "proxy"


@pytest.fixture
async def proxy(store: Path, home: Home) -> AsyncIterator[Wallet]:
    """The proxy's wallet, open, with its socket."""
    wallet = await home.open("proxy")
    window = Window(store, Desk(wallet))
    await window.start()
    yield wallet
    await window.close()


async def test_a_token_is_alone_on_stdout_so_that_it_can_be_piped(run: Run, store: Path) -> None:
    code, out, err = await run("send", "5")
    assert code == 0, err
    assert out.startswith("cashuB")
    assert out.count("\n") == 1
    assert "5 hash·02020202·0" in err
    code, out, _ = await run("balance", "--json")
    assert last(out)["balance"] == 16
    assert last(out)["out"] == [{"unit": UNIT, "amount": 5, "tokens": 1}]
    code, out, _ = await run("balance")
    assert "5 hash·02020202·0 in 1 token handed out" in out


async def test_a_wallet_goes_to_its_own_mint_unless_another_is_named(
    run: Run, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["send", "5", "--state", str(tmp_path)]
    assert await asyncio.to_thread(main, argv) == 0
    assert capsys.readouterr().out.startswith("cashuB")
    assert await asyncio.to_thread(main, [*argv, "--mint", "http://127.0.0.1:1"]) == 75
    assert "the mint at http://127.0.0.1:1 does not answer" in capsys.readouterr().err


async def test_an_own_wallet_receives_what_the_proxys_has_sent(run: Run, store: Path, tmp_path: Path) -> None:
    code, out, err = await run("send", "5", "--memo", "for [bold]you", "--json")
    assert code == 0, err
    token = last(out)["tokens"][0]["token"]
    file = tmp_path / "token"
    file.write_text(token + "\n")
    code, out, err = await run("receive", str(file), "--own")
    assert code == 0, err
    assert "received 5 hash·02020202·0" in out
    assert "for [bold]you" in out
    assert "seed words are in" in err
    assert WORDS not in err
    code, out, err = await run("receive", token, "--own")
    assert code == 65
    assert "spent already" in err
    code, out, _ = await run("list", "--sent", "--json")
    assert [(item["state"], item["token"]) for item in last(out)["tokens"]] == [("claimed", None)]
    code, out, _ = await run("history")
    lines = out.splitlines()
    assert "sent" in lines[1]
    assert "-5" in lines[1]
    assert "mined" in lines[2]
    assert "+21" in lines[2]


async def test_beside_a_daemon_orders_go_over_its_socket(run: Run, proxy: Wallet, store: Path) -> None:
    assert (store / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
    code, out, err = await run("send", "6", "--json")
    assert code == 0, err
    assert last(out)["balance"] == {"ehash": 15}
    code, out, err = await run("receive", last(out)["tokens"][0]["token"])
    assert code == 0, err
    assert "received 6" in out
    code, out, err = await run("receive", "cashuBnonsense")
    assert code == 65
    assert "no token that can be read" in err
    code, out, err = await run("history", "--json", "--limit", "1")
    assert last(out)["events"][0]["kind"] == "return"


async def test_progress_of_a_daemon_is_told(run: Run, proxy: Wallet, tell: Told) -> None:
    for number in range(10, 40):
        await tell(proxy, number, 1)
    proxy.minter._batch = 1
    await proxy.minter.mint_due()
    code, out, err = await run("consolidate", "--pause", "0", "--inputs", "12")
    assert code == 0, err
    assert "swap 1: " in err
    assert "33 tokens are" in out
    assert "holds 51 ehash" in out


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("send", "0"), "is no amount"),
        (("send", "1.5"), "is no amount"),
        (("send", "-3"), "is no amount"),
        (("send", "1e3"), "is no amount"),
        (("send", "12,34"), "is no amount"),
        (("send", "9007199254740992"), "below"),
        (("send", "22"), "22 ehash are to be sent, 21 can be"),
        (("send", "5", "--unit", "sat"), "21 ehash besides: name the unit with --unit"),
        (("send", "5", "--unit", "a b"), "a unit is a word"),
        (("send", "5", "--to", "alice"), "to: not a locking key"),
        (("send", "5", "--refund", "02" * 33), "need a key to lock to"),
        (("send", "5", "--memo", "two\nlines"), "memo is a line"),
        (("receive", "/nowhere"), "/nowhere cannot be read"),
        (("receive", "see#cashuB" + "A" * 300), "see#cashuBAAAAAAAAAA… cannot be read"),
        (("receive", "{}"), "no token that can be read"),
        (("receive", "cashuA###"), "no token that can be read"),
        (("receive", "cashuA", "--preimage", "00"), "preimage is not 64 hex digits"),
        (("consolidate", "--inputs", "1"), "inputs is a whole number"),
    ],
)
async def test_what_cannot_be_done_is_said(run: Run, store: Path, argv: tuple[str, ...], text: str) -> None:
    code, out, err = await run(*argv)
    assert code in {65, 66}
    assert text in err
    assert not out
    assert "Traceback" not in err
    assert last((await run("balance", "--json"))[1])["balance"] == 21


async def test_a_mint_that_is_away_costs_nothing(run: Run, store: Path, mint: FakeMint) -> None:
    mint.after = lose
    code, _, err = await run("send", "3")
    assert code == 75
    assert "list --sent" in err
    mint.after = None
    code, out, _ = await run("list", "--sent")
    assert code == 0
    assert "cashuB" in out
    code, out, _ = await run("balance", "--json")
    assert last(out)["balance"] == 18


async def test_the_seed_words_are_shown_when_asked_for(run: Run, store: Path) -> None:
    code, out, _ = await run("backup", "--json")
    assert code == 0
    assert last(out)["words"] == WORDS
    code, out, _ = await run("backup")
    assert all(word in out for word in WORDS.split())
    code, _, err = await run("backup", "--own")
    assert code == 66
    assert "no seed words" in err


async def test_nothing_is_sent_from_a_wallet_that_is_not_there(run: Run) -> None:
    code, _, err = await run("send", "5")
    assert code == 66
    assert "--own is your own wallet" in err
