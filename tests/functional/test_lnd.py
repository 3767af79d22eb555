"""The mint as a process beside an lnd, a fake one that speaks lnd's REST API over TLS."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from protocols.lightning.invoice import decode
from roles.cli.auditing.sides import audit
from tests.functional import secrecy
from tests.functional.development import Development
from tests.functional.processes import Site
from tests.functional.test_sats import Wallet, invoice_of_others
from tests.roles.mint.lightning.fake_lnd import MACAROON, PREIMAGE, FakeLnd, serving

pytestmark = pytest.mark.functional


async def test_sats_go_over_lnd_and_a_payment_is_tracked_by_a_mint_that_was_killed_in_its_midst(
    site: Site, tmp_path: Path
) -> None:
    secrecy.note("lnd's macaroon", MACAROON)
    async with serving(FakeLnd(time.time), tmp_path) as lnd, aiohttp.ClientSession() as session:
        (tmp_path / "lnd.cert").write_text(lnd.certificate)
        (tmp_path / "lnd.macaroon").write_bytes(bytes.fromhex(MACAROON))
        (tmp_path / "lnd.macaroon").chmod(0o600)
        mint = Development(site).daemon(
            "mint",
            bolt11__backend="lnd",
            bolt11__lnd__url=lnd.url,
            bolt11__lnd__macaroon_file=str(tmp_path / "lnd.macaroon"),
            bolt11__lnd__certificate_file=str(tmp_path / "lnd.cert"),
        )
        await mint.started()
        wallet = Wallet(session, f"http://{mint.settings['http_address']}")
        quote = await wallet.post(
            "/v1/melt/quote/bolt11", {"unit": "sat", "request": invoice_of_others(10_000)}
        )
        melting = asyncio.create_task(wallet.melt(quote))
        async with asyncio.timeout(60):
            while not lnd.invoices:
                await asyncio.sleep(0.01)
            for payment_hash in list(lnd.invoices):
                lnd.receive(payment_hash)
            body = await melting
            payment_hash = decode(quote["request"]).payment_hash
            lnd.plans[payment_hash] = "breaks"
            answer = await wallet.post("/v1/melt/bolt11", body | {"prefer_async": True})
            assert answer["state"] == "PENDING"
            while not lnd.payments:
                await asyncio.sleep(0.01)
        mint.kill()
        await mint.started()
        assert (await wallet.get(f"/v1/melt/quote/bolt11/{quote['quote']}"))["state"] == "PENDING"
        lnd.settle(payment_hash, "SUCCEEDED")
        paid = await wallet.until_settled(quote)
        assert (paid["state"], paid["payment_preimage"]) == ("PAID", PREIMAGE.hex())
        assert len(lnd.sent) == 1
    found = audit(site.state, ["mint"], required=True)
    assert found.ok, found.detail()
