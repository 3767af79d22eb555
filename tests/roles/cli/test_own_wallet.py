import asyncio
import hashlib
import io
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from protocols.bitcoin.base58 import encode_check
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import decode_key, encode_key
from roles.cli.wallet import main
from tests.roles.cli.test_wallet import last
from tests.roles.wallet.conftest import Clock, Home, clock, home, mint
from tests.roles.wallet.fake_mint import FakeMint

__all__ = ["clock", "home", "mint"]

Run = Callable[..., Awaitable[tuple[int, str, str]]]
SECRET = bytes(31) + b"\x2a"
FORMS = {
    "hex": SECRET.hex(),
    "wif": encode_check(b"\x80" + SECRET),
    "wif-compressed": encode_check(b"\xef" + SECRET + b"\x01"),
}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, clock: Clock) -> Run:
    clock.ms = time.time_ns() // 1_000_000

    async def run(*argv: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*argv, "--state", str(tmp_path)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def pay(mint: FakeMint, key: bytes, amount: int) -> None:
    mint.pay(key, hashlib.sha256(amount.to_bytes(4, "big")).digest(), amount)


async def test_what_an_own_key_has_earned_anywhere_is_claimed(
    run: Run, home: Home, mint: FakeMint, tmp_path: Path
) -> None:
    code, out, _ = await run("key", "--json")
    assert code == 0
    text = last(out)["key"]
    assert last((await run("key", "--json"))[1])["key"] == text
    assert last((await run("key", "rig", "--json"))[1])["key"] != text
    assert (tmp_path / "wallet" / "seed.words").stat().st_mode & 0o777 == 0o600
    pay(mint, decode_key(text), 21)
    code, out, err = await run("claim", "--json", "--mint", home.url)
    assert code == 0
    told = last(out)
    assert (told["minted"], told["found"], told["keys"], told["balance"]) == (21, 1, 2, 21)
    assert "1 new quotes" in err
    code, out, _ = await run("claim", "--mint", home.url)
    assert code == 0
    assert "claimed 0 ehash" in out
    assert "a second or two" in out
    code, out, _ = await run("list", "--own")
    assert code == 0
    assert "rig" in out
    assert text in out.replace("\n", "")


@pytest.mark.parametrize("form", FORMS)
async def test_a_private_key_claims_what_it_has_earned(
    run: Run, home: Home, mint: FakeMint, tmp_path: Path, form: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(FORMS[form] + "\n")
    code, out, _ = await run("key", "--secret", str(file), "--json")
    assert code == 0
    assert last(out)["key"] == encode_key(public_key(SECRET))
    assert not (tmp_path / "wallet").exists()
    pay(mint, public_key(SECRET), 8)
    code, out, err = await run("claim", "--secret", str(file), "--json", "--mint", home.url)
    assert code == 0
    assert last(out)["minted"] == 8
    assert FORMS[form] not in out + err
    assert "brought to claim" in (await run("list", "--own"))[1]


async def test_a_private_key_may_come_by_stdin(run: Run, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SECRET.hex()))
    code, out, _ = await run("key", "--secret", "-")
    assert code == 0
    assert encode_key(public_key(SECRET)) in out
    assert "seed words" not in out


@pytest.mark.parametrize(
    ("content", "code"),
    [("00" * 32, 65), ("ab" * 31, 65), ("KwDi", 65), (encode_check(b"\x80ab"), 65), (None, 66)],
)
async def test_what_is_no_private_key_is_refused_and_not_repeated(
    run: Run, tmp_path: Path, content: str | None, code: int
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    found, out, err = await run("claim", "--secret", str(file), "--mint", "http://127.0.0.1:1")
    assert found == code
    assert content is None or content not in out + err


async def test_a_claim_without_a_key_says_how_to_have_one(run: Run) -> None:
    code, _, err = await run("claim", "--mint", "http://127.0.0.1:1")
    assert code == 66
    assert "hashpool wallet key" in err
    code, _, err = await run("list", "--own")
    assert code == 66
    assert "hashpool wallet key" in err


async def test_a_mint_that_is_away_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roles.cli.wallet_reach.PATIENCE", ())
    await run("key")
    code, _, err = await run("claim", "--mint", "http://127.0.0.1:1")
    assert code == 69
    assert "127.0.0.1:1" in err


async def test_the_own_wallet_is_restored_from_its_words(
    run: Run, home: Home, mint: FakeMint, tmp_path: Path
) -> None:
    text = last((await run("key", "--json"))[1])["key"]
    pay(mint, decode_key(text), 13)
    await run("claim", "--mint", home.url)
    words = tmp_path / "words"
    (tmp_path / "wallet" / "seed.words").rename(words)
    for file in (tmp_path / "wallet").iterdir():
        file.unlink()
    code, out, _ = await run("restore", "--own", "--words", str(words), "--mint", home.url, "--json")
    assert code == 0
    assert last(out)["balance"] == 13
    assert (tmp_path / "wallet" / "seed.words").exists()
