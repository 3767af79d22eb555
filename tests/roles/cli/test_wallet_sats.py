"""mint, melt and request, as a person types them, beside a mint with sats."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from protocols.lightning.invoice import Invoice, encode
from roles.cli import wallet_show
from roles.cli.wallet import main
from tests.roles.cli.test_wallet import last
from tests.roles.cli.test_wallet_orders import Run
from tests.roles.wallet.fake_mint import FakeMint


@pytest.fixture
async def mint() -> FakeMint:
    made = FakeMint(time.time)
    made.add_keyset("sat")
    return made


@pytest.fixture
async def run(
    mint: FakeMint, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Run]:
    monkeypatch.setattr("roles.cli.wallet_reach.PATIENCE", ())
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TestServer(mint.app()))
        url = str(server.make_url("")).rstrip("/")

        async def run(action: str, *argv: str) -> tuple[int, str, str]:
            aim = ["--mint", url] if action != "history" else []
            words = [action, *argv, *aim, "--own", "--state", str(tmp_path)]
            code = await asyncio.to_thread(main, words)
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        file = tmp_path / "gift"
        file.write_text(mint.give(url, 100))
        assert (await run("receive", str(file)))[0] == 0
        yield run


def bill(sats: int) -> str:
    return encode(Invoice("bc", sats * 1000, int(time.time()), bytes(32), description="tea"), b"\x09" * 32)


async def test_an_invoice_is_paid_after_a_yes_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = await run("melt", bill(20), "--yes")
    assert code == 0
    assert "20 sat paid out, for a fee of 1" in out
    assert "holds 0 ehash, 79 sat" in out
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    code, out, err = await run("melt", bill(20))
    assert (code, out) == (0, "")
    assert "nothing was paid" in err
    assert "20 sat for tea, and up to 4 for the way?" in err
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    code, out, _ = await run("melt", bill(20))
    assert "holds 0 ehash, 58 sat" in out
    code, out, _ = await run("history", "--unit", "sat", "--json")
    assert [(event["kind"], event["amount"]) for event in last(out)["events"]] == [
        ("melt", -21),
        ("melt", -21),
        ("receive", 100),
    ]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("melt", "lnbc1", "--yes"), "no invoice that can be read"),
        (("melt", bill(20), "--yes", "--max-fee", "1"), "1 are allowed"),
        (("melt", bill(2000), "--yes"), "2,004 sat are to be spent, 100 can be"),
        (("send", "5", "--request", "creqA"), "no payment request"),
        (("request", "x"), "is no amount"),
    ],
)
async def test_what_cannot_be_paid_is_said(run: Run, argv: tuple[str, ...], text: str) -> None:
    code, out, err = await run(*argv)
    assert (code, out) == (65, "")
    assert text in err


async def test_a_request_is_alone_on_stdout_and_can_be_paid(run: Run) -> None:
    code, out, err = await run("request", "5", "--memo", "tea", "--lock", "shop")
    assert code == 0
    assert out.startswith("creqA")
    assert "asks for 5 sat" in err
    code, out, err = await run("send", "--request", out.strip())
    assert code == 0, err
    code, out, err = await run("receive", out.strip())
    assert code == 0, err
    assert "received 5 sat" in out


def test_a_memo_of_a_stranger_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert wallet_show.printable("a\x1b[2Jb\nc") == "a?\\[2Jb?c"
