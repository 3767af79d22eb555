"""The mint's OpenAPI description is served and true: Schemathesis asks a real mint whatever it allows."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Self

import aiohttp
import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import lookup
from protocols.cashu.curve import secret_point
from protocols.cashu.keyset import Keyset
from tests.functional.development import Development
from tests.functional.mint_peer import Issuer, Wallet, mine
from tests.functional.processes import Site
from tests.functional.sv2_peer import Server
from tests.fuzz.json_mutation import JsonSamples
from tests.fuzz.mutation import Mutator
from tests.openapi import check_answer, path_of

LONG = os.environ.get("HASHPOOL_TEST_LONG") == "1"
pytestmark = [pytest.mark.functional, pytest.mark.timeout(7_200 if LONG else 600)]
GOOD = bytes(31) + b"\x71"
EXAMPLES, PHASES = (300, "coverage,fuzzing,stateful") if LONG else (1, "coverage,fuzzing")
"""Requests made at random for each route; the phase of coverage has one for each bound of the description."""
DAMAGED = 5_000 if LONG else 60
"""Bodies of each route that are nearly right."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


class Reader(Wallet):
    """A wallet that reads each answer by the description; `heard` has the paths that were granted."""

    def describe(self, document: dict[str, Any]) -> Self:
        self.document = document
        self.heard: set[tuple[str, str]] = set()
        self.granted_bodies: dict[str, bytes] = {}
        return self

    async def get(self, path: str, **headers: str) -> Any:
        async with self._session.get(self._url + path, headers=headers) as reply:
            return self.read("get", path, reply.status, await reply.text())

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.post(self._url + path, data=sent) as reply:
            if reply.status == 200:
                self.granted_bodies.setdefault(path, sent)
            return reply.status, self.read("post", path, reply.status, await reply.text())

    async def fuzz(self, mutator: Mutator) -> None:
        """Send damaged forms of every body that was granted: each is granted or refused, and no fault."""
        for path, body in dict(self.granted_bodies).items():
            samples = JsonSamples([body])
            for _ in range(DAMAGED):
                damaged = samples.damage(mutator)
                status, answer = await self.post(path, damaged)
                assert status in {200, 400, 413}, (path, damaged[:2_000], status, answer)

    def read(self, method: str, asked: str, status: int, body: str) -> Any:
        # Each view of the mint has the same routes.
        path = path_of(self.document, asked[asked.index("/v1/") :])
        if status == 200:
            self.heard.add((method, path))
        return check_answer(self.document, path, status, body, method)


async def sat_keyset(wallet: Reader) -> Keyset:
    """That of money, which stands under /v1."""
    found = [Keyset.from_json(item) for item in (await wallet.get("/v1/keys"))["keysets"]]
    return next(keyset for keyset in found if keyset.unit == "sat")


async def test_what_wallets_are_answered_is_described_field_by_field_whatever_they_ask(site: Site) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    development = Development(site, issuers=(public_key(GOOD),))
    mint = development.daemon("mint", http__requests_per_s="0")
    await development.start()
    server = Server.of(mint, "issuance_address", development.keys.mint, "issuance")
    url = f"http://{mint.settings['http_address']}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/v1/openapi.json") as reply:
            document = await reply.json()
        wallet = Reader(session, url, public_key(GOOD)).describe(document)
        issuer = await Issuer(server, GOOD).begin()
        await wallet.begin()
        proofs = await wallet.tokens(issuer, 2, 1)
        spent = wallet.swap(proofs, basket := wallet.basket(1, 2))
        await wallet.granted("/v1/swap", spent)
        points = [secret_point(proof.secret).hex() for proof in proofs]
        await wallet.granted("/v1/checkstate", {"Ys": [*points, public_key(GOOD).hex()]})
        await wallet.granted("/v1/restore", {"outputs": basket.to_json()})
        for path in ("/v1/keys", "/v1/keysets", "/v1/ehash/shifts?limit=1"):
            await wallet.get(path)
        await wallet.get(f"/v1/ehash/shifts/{wallet.keyset.unit}")
        await wallet.get(f"/v1/keys/{wallet.keyset.keyset_id}")
        rows = [mine(2, wallet.key), mine(4, wallet.key)]
        await issuer.credit(*rows)
        quotes = [wallet.quote(row) for row in rows]
        await wallet.get(f"/v1/mint/quote/ehash/{quotes[0]}")
        await wallet.granted("/v1/mint/quote/ehash/check", {"quotes": quotes})
        basket = wallet.basket(2, 4)
        batch = {
            "quotes": quotes,
            "quote_amounts": [2, 4],
            "outputs": basket.to_json(),
            "signatures": [wallet.sign(quote, basket.outputs) for quote in quotes],
        }
        await wallet.granted("/v1/mint/ehash/batch", batch)
        mint_key = bytes.fromhex((await wallet.get("/v1/info"))["pubkey"])
        now = int(time.time())
        signature = lookup.sign(wallet.secret, mint_key, wallet.key, now, secrets.token_bytes(32)).hex()
        body = {"pubkeys": [wallet.key.hex()], "pubkey_signatures": [signature], "timestamp": now, "limit": 1}
        await wallet.granted("/v1/mint/quote/ehash/pubkey", body)
        hashes = ",".join(sha256d(row.header).hex() for row in rows)
        claim = {
            "Ehash-Key": wallet.key.hex(),
            "Ehash-Timestamp": str(now),
            "Ehash-Signature": signature,
        }
        await wallet.get(f"/v1/mint/quote-ids/share?share_hashes={hashes}", **claim)
        own, other = [
            await wallet.granted("/v1/mint/quote/bolt11", {"amount": amount, "unit": "sat"})
            for amount in (8, 3)
        ]
        melt = await wallet.granted("/v1/melt/quote/bolt11", {"request": other["request"], "unit": "sat"})
        async with asyncio.timeout(60):
            while (await wallet.get(f"/v1/mint/quote/bolt11/{own['quote']}"))["state"] != "PAID":
                await asyncio.sleep(0.05)
        hash_keyset, wallet.keyset = wallet.keyset, await sat_keyset(wallet)
        sats = wallet.basket(8)
        minting = {"quote": own["quote"], "outputs": sats.to_json()}
        paying = wallet.open(sats, await wallet.granted("/v1/mint/bolt11", minting))
        body = wallet.swap(paying, wallet.basket(1, 1, 1)) | {"quote": melt["quote"]}
        paid = await wallet.granted("/v1/melt/bolt11", body)
        assert (paid["state"], sum(each["amount"] for each in paid["change"])) == ("PAID", 5)
        await wallet.get(f"/v1/melt/quote/bolt11/{melt['quote']}")
        wallet.keyset = hash_keyset
        assert await wallet.refused("/v1/swap", spent | {"outputs": wallet.basket(1, 2).to_json()}) == 11001
        await wallet.fuzz(Mutator(Random(seed)))
        issuer.link.close()
    described = {(method, path) for path, told in document["paths"].items() for method in told}
    assert wallet.heard == described, "an answer that was never read"


async def test_every_answer_of_the_mint_is_one_that_its_description_has(site: Site, tmp_path: Path) -> None:
    development = Development(site)
    mint = development.daemon("mint", http__requests_per_s="0")
    await development.start()
    url = f"http://{mint.settings['http_address']}"
    seed = secrets.randbits(32)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/v1/openapi.json",
        "--checks", ",".join(CHECKS),
        "--seed", str(seed), "--max-examples", str(EXAMPLES), "--no-shrink", "--continue-on-failure",
        "--no-color", "--phases", PHASES,
    ]  # fmt: skip
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    print(done.stdout[-3_000:])
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1/info") as reply:
        assert reply.status == 200
