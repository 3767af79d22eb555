"""What every functional test ends with can fail: whatever is worth money is found where it must not stand."""

import json
from pathlib import Path

import aiohttp
import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.models import Proof
from roles.mint.store import STORE_NAME
from roles.runtime.storage import Connection, Database, open_readonly
from roles.wallet.schema import MIGRATIONS
from tests.functional import secrecy
from tests.functional.development import Development
from tests.functional.mint_peer import Issuer, Wallet
from tests.functional.mint_row import mint_row
from tests.functional.processes import Daemon, Site
from tests.functional.sv2_peer import Server
from tests.postgres_server import PASSWORD

pytestmark = pytest.mark.functional

GOOD = bytes(31) + b"\x61"


async def mint_tokens(site: Site) -> tuple[Daemon, Wallet, list[Proof]]:
    """A mint that has issued and redeemed, and is stopped."""
    development = Development(site, issuers=(public_key(GOOD),))
    daemon = development.daemon("mint")
    await development.start()
    server = Server.of(daemon, "issuance_address", development.keys.mint, "issuance")
    async with aiohttp.ClientSession() as session:
        issuer = await Issuer(server, GOOD).begin()
        url = f"http://{daemon.settings['http_address']}"
        wallet = await Wallet(session, url, public_key(GOOD)).begin()
        proofs = await wallet.tokens(issuer, 4)
        await wallet.granted("/v1/swap", wallet.swap(proofs, wallet.basket(2, 2)))
        issuer.link.close()
    await daemon.stop()
    return daemon, wallet, proofs


async def test_whatever_is_worth_money_is_found_in_what_a_mint_tells(site: Site) -> None:
    daemon, wallet, proofs = await mint_tokens(site)
    with open_readonly(daemon.state / STORE_NAME) as store:
        promise = store.execute("SELECT blinded, signature, dleq_s FROM promise").fetchone()
        point = store.execute("SELECT y FROM spent").fetchone()["y"]
    told = {
        "seed": (daemon.state / "seed.key").read_text().strip(),
        "blinded message": promise["blinded"].hex(),
        "signature": promise["signature"].hex(),
        "dleq": promise["dleq_s"].hex(),
        "point": point.hex(),
        "proof": json.dumps(proofs[0].to_json()),
        "half a proof's secret": proofs[0].secret[: secrecy.PROBE],
        "locking key": f"secret={wallet.secret.hex()}",
        "token": "cashuBo2FteBtodHRwOi8vMTI3LjAuMC4xOjMzMzg",
        "in other hex": f"00ff{promise['blinded'].hex()}00",
    }
    secrets = secrecy._noted | secrecy.of_state(site.state)
    for what, text in told.items():
        found = secrecy.leaks({"a log": f"ts=1 level=info msg=hello {text}\n"}, secrets)
        assert found, what
        assert all(each.endswith(" in a log") for each in found)
        assert not any(text in each for each in found), "a report tells no secret itself"
    assert secrecy.leaks(secrecy.logs(site.logs), secrets) == []


async def test_what_a_mint_keeps_in_postgresql_is_known_as_well(tmp_path: Path) -> None:
    with mint_row(tmp_path, "postgresql", 1) as row:
        await row.start()
        async with aiohttp.ClientSession() as session:
            wallet = await row.wallet(session)
            share = await row.credit(row.issuers[0], 4, wallet.key)
            basket = wallet.basket(4)
            claim = wallet.claim(wallet.quote(share), basket)
            answer = await row.insist(session, "/v1/mint/ehash", claim)
        secrets = secrecy.of_state(row.site.state)
    (signature,) = answer["signatures"]
    for text, name in (
        (basket.outputs[0].blinded.hex(), "promise.blinded"),
        (signature["C_"], "promise.signature"),
        (PASSWORD, "the store's password"),
    ):
        assert secrecy.leaks({"a log": f"x={text}"}, secrets) == [f"{name} in a log"]
    assert share.header.hex()[: secrecy.PROBE] not in secrets


async def test_a_site_whose_daemon_logs_a_secret_fails_its_test(tmp_path: Path) -> None:
    site = Site(tmp_path)
    daemon, _, _ = await mint_tokens(site)
    with open_readonly(daemon.state / STORE_NAME) as store:
        blinded = store.execute("SELECT blinded FROM promise").fetchone()["blinded"]
    secrecy._noted.pop(next(secrecy.probes(blinded)))
    with (site.logs / "mint.log").open("a") as log:
        log.write(f"level=error msg=refused output={blinded.hex()}\n")
    with pytest.raises(AssertionError, match=r"secrets were told: promise.blinded in mint.log"):
        site.__exit__(None, None, None)


def test_a_wallets_secrets_and_seed_words_are_known(tmp_path: Path) -> None:
    words = "abandon ability able about above absent absorb abstract absurd abuse access accident"
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy" / "seed.words").write_text(words + "\n")
    assert secrecy.leaks({"log": f"words={words}"}, secrecy.of_state(tmp_path)) == ["seed.words in log"]
    assert secrecy.leaks({"log": "able to be about"}, secrecy.of_state(tmp_path)) == []


async def test_the_proofs_of_a_wallet_are_known(tmp_path: Path) -> None:
    (tmp_path / "proxy").mkdir()
    secret, signature, body = "5e" * 32, b"\x02" + bytes(range(32)), {"outputs": [{"B_": "ab" * 33}]}

    def write(connection: Connection) -> None:
        connection.execute(
            "INSERT INTO proof (y, keyset_id, amount, secret, signature, state, received_ms)"
            " VALUES (?, 'k', 1, ?, ?, 'unspent', 0)",
            (b"\x03" * 33, secret, signature),
        )
        connection.execute(
            "INSERT INTO request (keyset_id, first_counter, amounts, path, body, form, state, opened_ms)"
            " VALUES ('k', 0, '[]', '/', ?, 'legacy', 'open', 0)",
            (json.dumps(body).encode(),),
        )

    async with Database.open(tmp_path / "proxy" / "wallet.sqlite", MIGRATIONS) as database:
        await database.write(write)
    secrets = secrecy.of_state(tmp_path)
    for text, name in (
        (secret, "proof.secret"),
        (signature.hex(), "proof.signature"),
        ("ab" * 33, "request.body"),
    ):
        assert secrecy.leaks({"log": f"x={text}"}, secrets) == [f"{name} in log"]
