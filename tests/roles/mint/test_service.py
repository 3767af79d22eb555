"""The mint as a whole: a Noise connection from an issuer, HTTP from a wallet, restarts on the same state."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.networks import Network
from protocols.cashu import quote_signature
from protocols.cashu.bdhke import blind
from protocols.cashu.models import BlindedMessage
from protocols.ehash.identity import sign_hello
from protocols.ehash.messages import (
    ISSUANCE,
    PROTOCOL_ISSUANCE,
    CreditResults,
    Credits,
    IssuerHello,
    IssuerHelloSuccess,
)
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.ehash.shift import Unit
from protocols.noise.authority import public_of
from protocols.sv2.codec import encode
from protocols.sv2.connection import SetupConnection, SetupConnectionError, SetupConnectionSuccess
from protocols.sv2.layout import Message
from roles.credit.acceptor import ISSUANCE_LIMITS
from roles.mint.errors import KeysetMismatchError
from roles.mint.service import service
from roles.runtime.authority import authority_secret
from roles.runtime.daemon import Daemon
from roles.runtime.errors import ConnectFailed
from roles.runtime.sv2_connection import Sv2Connection, connect
from shared_config.address import Address
from shared_config.mint import IssuerSettings, MintSettings
from shared_config.pool_side import (
    BitcoinSettings,
    EhashSettings,
    MintPeerSettings,
    PoolSide,
    RegtestSettings,
    TemplateProviderPeerSettings,
)
from tests.roles.mint.house import ISSUER, MINER, STORE, mine

POOL = b"\x11" * 32
STRANGER = b"\x19" * 32


@dataclass
class Running:
    """A mint that serves."""

    http: str
    issuance: Address
    authority: bytes
    session: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        async with self.session.get(self.http + path) as reply:
            return await reply.json()

    async def post(self, path: str, body: object) -> Any:
        async with self.session.post(self.http + path, json=body) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def dial(self) -> Sv2Connection:
        return await connect(self.issuance, self.authority, limit=ISSUANCE_LIMITS)


def _free_port() -> Address:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", sock.getsockname()[1])


@asynccontextmanager
async def _mint(state: Path) -> AsyncIterator[Running]:
    http, issuance, health = _free_port(), _free_port(), _free_port()
    config = MintSettings(
        http_address=http,
        issuance_address=issuance,
        health_address=health,
        issuers=(IssuerSettings(identity=ISSUER, reward="payments"),),
    )
    shared = PoolSide(
        network=Network.REGTEST,
        bitcoin=BitcoinSettings(rpc_url="http://127.0.0.1:1", rpc_cookie_file=Path("x")),
        ehash=EhashSettings(minimum_difficulty=0),
        regtest=RegtestSettings(block_difficulty=1 << 60),
        mint=MintPeerSettings(url=f"http://{http}", issuance_address=issuance),
        template_provider=TemplateProviderPeerSettings(address=Address("127.0.0.1", 1)),
    )
    state.mkdir(mode=0o700, exist_ok=True)
    daemon = Daemon("mint", config, shared, state)
    task = asyncio.create_task(service(daemon))
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            ready = asyncio.create_task(daemon.readiness.wait())
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if task.done():
                await task
            yield Running(f"http://{http}", issuance, public_of(authority_secret(state)), session)
    finally:
        daemon.stopping.set()
        await asyncio.wait({task})


async def _hear(connection: Sv2Connection) -> Message:
    return ISSUANCE.decode(await connection.receive())[0]


async def _introduce(connection: Sv2Connection, mint: Running, secret: bytes = POOL) -> Message:
    setup = SetupConnection(PROTOCOL_ISSUANCE, 2, 2, 0, "mint", 1, "test", "", "", "")
    identity, signature = sign_hello(
        secret, connection.handshake_hash, mint.authority, secrets.token_bytes(32)
    )
    connection.send(encode(setup), encode(IssuerHello(identity, signature, STORE, 3)))
    assert isinstance(await _hear(connection), SetupConnectionSuccess)
    return await _hear(connection)


async def test_a_credit_over_the_link_becomes_a_token_over_http_and_outlives_a_restart(
    tmp_path: Path,
) -> None:
    rows = (mine(1, time=1_700_000_000_000), mine(4, nonce=9, time=1_700_000_000_000))
    async with _mint(tmp_path / "mint") as mint:
        link = await mint.dial()
        terms = await _introduce(link, mint)
        assert isinstance(terms, IssuerHelloSuccess)
        assert (terms.acked_seq, terms.min_shift, terms.mint_url) == (0, 0, mint.http)
        link.send(encode(Credits(1, 0, 0, 0, rows)))
        assert await _hear(link) == CreditResults(2, ())
        info = await mint.get("/v1/info")
        assert info["quote_key"] == terms.quote_key.hex()
        quote = quote_id(shared_secret(MINER, terms.quote_key), sha256d(rows[1].header))
        keysets = (await mint.get("/v1/keysets"))["keysets"]
        assert [keyset["unit"] for keyset in keysets] == [Unit(ISSUER, 0).name]
        output = BlindedMessage(4, keysets[0]["id"], blind("secret", b"\x05" * 32))
        signature = quote_signature.sign(MINER, quote, [output], bytes(32)).hex()
        body = {"quote": quote, "outputs": [output.to_json()], "signature": signature}
        minted = await mint.post("/v1/mint/ehash", body)
        link.close()
    async with _mint(tmp_path / "mint") as mint:
        assert await mint.post("/v1/mint/ehash", body) == minted
        assert (await mint.get(f"/v1/mint/quote/ehash/{quote}"))["state"] == "ISSUED"
        link = await mint.dial()
        terms = await _introduce(link, mint)
        assert isinstance(terms, IssuerHelloSuccess)
        assert terms.acked_seq == 2
        link.close()


async def test_an_issuer_that_the_mint_does_not_know_is_refused_in_words(tmp_path: Path) -> None:
    async with _mint(tmp_path / "mint") as mint:
        link = await mint.dial()
        assert await _introduce(link, mint, STRANGER) == SetupConnectionError(0, "unknown-issuer")
        link.close()


async def test_an_issuer_does_not_talk_to_a_mint_that_it_does_not_trust(tmp_path: Path) -> None:
    async with _mint(tmp_path / "mint") as mint:
        with pytest.raises(ConnectFailed):
            await connect(mint.issuance, public_of(STRANGER), limit=ISSUANCE_LIMITS)


async def test_a_mint_does_not_start_on_the_seed_of_another(tmp_path: Path) -> None:
    async with _mint(tmp_path / "mint"):
        pass
    (tmp_path / "mint" / "seed.key").write_text("01" * 32)
    with pytest.raises(KeysetMismatchError):
        async with _mint(tmp_path / "mint"):
            pass


async def test_secrets_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    async with _mint(tmp_path / "mint"):
        made = sorted(path.name for path in (tmp_path / "mint").iterdir() if path.suffix == ".key")
        assert made == ["authority.key", "seed.key"]
        for path in (tmp_path / "mint").iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
