"""A mint as a process, managed by `hashpool mint` while it serves."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from protocols.bitcoin.secp256k1 import public_key
from roles.cli.mint import main
from roles.mint.schema import MIGRATIONS
from roles.mint.store import STORE_NAME
from roles.runtime import sysexits
from roles.runtime.storage import Database
from tests.functional.development import Development
from tests.functional.mint_peer import Issuer, Wallet
from tests.functional.processes import Site
from tests.functional.sv2_peer import Server

pytestmark = pytest.mark.functional

GOOD = bytes(31) + b"\x51"
DISABLED = 20003


class Operator:
    """Gives orders by the command line."""

    def __init__(self, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._state = state
        self._capsys = capsys

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command."""
        code = await asyncio.to_thread(main, [*arguments, "--state", str(self._state)])
        return code, *self._capsys.readouterr()

    async def __call__(self, *arguments: str) -> Any:
        """What a command that succeeds tells as JSON."""
        code, out, err = await self.run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


async def test_an_operator_looks_at_a_mint_and_pauses_it_over_a_restart(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = Operator(site.state, capsys)
    code, _, err = await operator.run("status")
    assert code == sysexits.UNAVAILABLE
    assert "nobody answers" in err
    assert "start the daemon" in err

    development = Development(site, issuers=(public_key(GOOD),))
    daemon = development.daemon("mint")
    await development.start()
    assert stat.S_IMODE((daemon.state / "control.sock").stat().st_mode) == 0o600
    told = await operator("status")
    assert (told["ready"], told["halts"], told["keysets"]) == (True, [], 3)
    code, out, _ = await operator.run("keysets")
    assert code == 0
    assert "outstanding" in out

    server = Server.of(daemon, "issuance_address", development.keys.mint, "issuance")
    async with aiohttp.ClientSession() as session:
        url = f"http://{daemon.settings['http_address']}"
        issuer = await Issuer(server, GOOD).begin()
        wallet = await Wallet(session, url, public_key(GOOD)).begin()
        proofs = await wallet.tokens(issuer, 4)
        swap = wallet.swap(proofs, wallet.basket(4))

        assert await operator("pause", "--reason", "a test") == {"changed": True}
        assert await wallet.refused("/v1/swap", swap) == DISABLED
        assert (await wallet.get("/v1/info"))["nuts"]["4"]["disabled"] is True
        issuer.link.close()
        daemon.kill()
        daemon.start()
        async for _ in daemon.polls("to say that it is paused"):
            if '"stopped: a test' in (await daemon.health("/ready"))[1]:
                break
        assert (await daemon.reasons())["issuing"] == "stopped: a test"
        assert await wallet.refused("/v1/swap", swap) == DISABLED
        code, out, _ = await operator.run("status")
        assert "issuing (a test)" in out
        assert await operator("resume", "--reason", "it is over") == {"changed": True}
        await daemon.ready()
        await wallet.granted("/v1/swap", swap)

    copied = await operator("backup", str(site.state / "copy.sqlite"))
    assert Path(copied["path"]).stat().st_size == copied["size_bytes"]
    assert Path(copied["secret"]).is_file()
    code, _, err = await operator.run("rotate", wallet.keyset.unit)
    assert code == sysexits.DATA
    assert "ehash has one keyset" in err
    code, out, _ = await operator.run("journal")
    assert "resume issuing: it is over" in out
    assert "pause issuing: a test" in out
    await daemon.stop()
    assert not (daemon.state / "control.sock").exists()


async def test_a_mint_whose_books_differ_stops_issuing_until_its_operator_clears_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = Operator(site.state, capsys)
    development = Development(site, issuers=(public_key(GOOD),))
    daemon = development.daemon("mint", watchdog__every_s="0.1", watchdog__duty="1")
    await development.start()
    server = Server.of(daemon, "issuance_address", development.keys.mint, "issuance")
    async with aiohttp.ClientSession() as session:
        url = f"http://{daemon.settings['http_address']}"
        issuer = await Issuer(server, GOOD).begin()
        wallet = await Wallet(session, url, public_key(GOOD)).begin()
        proofs = await wallet.tokens(issuer, 4)
        issuer.link.close()
        await daemon.stop()
        await alter(daemon.state, "UPDATE keyset SET issued = issued + 1 WHERE issued > 0")
        daemon.start()
        await daemon.logged(r"the books differ, issuing is stopped: issued of \d+: the counter says 5")
        # Mended behind its back, it is stopped as long as nobody has looked.
        await daemon.stop()
        await alter(daemon.state, "UPDATE keyset SET issued = issued - 1 WHERE issued > 0")
        daemon.start()
        async for _ in daemon.polls("to say that it is stopped"):
            if "the books differ" in (await daemon.health("/ready"))[1]:
                break
        swap = wallet.swap(proofs, wallet.basket(4))
        assert await wallet.refused("/v1/swap", swap) == DISABLED
        assert (await operator("watchdog", "run"))["differences"] == []
        code, out, _ = await operator.run("watchdog")
        assert code == 0
        assert "the books differ: issued of" in out
        assert await operator("watchdog", "clear", "--reason", "put right") == {"changed": True}
        await daemon.ready()
        await wallet.granted("/v1/swap", swap)
        metrics = (await daemon.health("/metrics"))[1]
        assert "hashpool_mint_watchdog_differences 0.0" in metrics
        assert 'hashpool_http_operation_errors_total{code="20003",operation="swap"} 1.0' in metrics
    assert [each["action"] for each in (await operator("journal"))["entries"]] == ["clear", "stop"]


async def alter(state: Path, statement: str) -> None:
    """Change the store of a mint that does not run."""
    async with Database.open(state / STORE_NAME, MIGRATIONS) as database:
        await database.write(lambda c: c.execute(statement).rowcount)
