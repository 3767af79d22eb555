"""Peers of a real mint: an issuer with a ledger of its own, and a wallet that speaks its HTTP API."""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.cashu import bdhke, quote_signature
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof
from protocols.ehash.identity import sign_hello
from protocols.ehash.messages import (
    ISSUANCE,
    PROTOCOL_ISSUANCE,
    CreditResults,
    CreditRow,
    Credits,
    IssuerHello,
    IssuerHelloSuccess,
)
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.ehash.shift import Unit
from protocols.sv2.codec import encode
from protocols.sv2.connection import SetupConnectionSuccess
from protocols.sv2.layout import Message
from roles.credit.acceptor import ISSUANCE_LIMITS
from roles.runtime.sv2_connection import Sv2Connection, connect
from tests.functional import secrecy
from tests.functional.sv2_peer import Server, setup

MINIMUM = 4
"""Bits: one ehash is 16 hashes here."""

_nonces = count(secrets.randbits(40) << 20)


def mine(amount: int, key: bytes) -> CreditRow:
    """A row whose header proves an amount."""
    target = from_work(amount << MINIMUM)
    while True:
        # Its nbits are 0, so that no block can be claimed of it.
        header = next(_nonces).to_bytes(72, "big") + bytes(8)
        if int.from_bytes(sha256d(header), "little") <= target:
            return CreditRow(header, target, now_ms(), 0, key)


def now_ms() -> int:
    """The time of a row."""
    return time.time_ns() // 1_000_000


class Issuer:
    """An issuer's end of the link, which says what it likes; `terms` is what the mint answered its hello."""

    def __init__(self, mint: Server, secret: bytes, store_id: bytes | None = None) -> None:
        self.secret = secret
        self.identity = public_key(secret)
        self.store_id = store_id or secrets.token_bytes(16)
        self.seq = 1
        self.shift = 0
        self.link: Sv2Connection
        self._mint = mint

    async def dial(self) -> None:
        """Connect and set up."""
        self.link = await connect(self._mint.address, self._mint.authority, limit=ISSUANCE_LIMITS)
        self.link.send(encode(setup(PROTOCOL_ISSUANCE)))
        assert isinstance(await self.hear(), SetupConnectionSuccess)

    async def hear(self) -> Message:
        """The next message."""
        return ISSUANCE.decode(await self.link.receive())[0]

    async def ask(self, message: Message) -> Message:
        """The answer to a message."""
        self.link.send(encode(message))
        return await self.hear()

    def hello(self, *, signed_by: bytes | None = None, session: bytes | None = None) -> IssuerHello:
        """A hello, perhaps signed with another key or for another session."""
        _, signature = sign_hello(
            signed_by or self.secret,
            session or self.link.handshake_hash,
            self._mint.authority,
            secrets.token_bytes(32),
        )
        return IssuerHello(self.identity, signature, self.store_id, self.seq)

    async def begin(self) -> "Issuer":
        """Connect and be taken for the issuer."""
        await self.dial()
        terms = await self.ask(self.hello())
        assert isinstance(terms, IssuerHelloSuccess), terms
        # A ledger that is new begins where the mint says.
        self.shift = max(self.shift, terms.min_shift)
        return self

    def credits(self, *rows: CreditRow, **changes: Any) -> Credits:
        """The frame that hands over the next rows."""
        fields = {"first_seq": self.seq, "shift": self.shift, "minimum": MINIMUM, "valuation": 0}
        return Credits(**(fields | changes), rows=rows)

    async def credit(self, *rows: CreditRow) -> CreditResults:
        """Hand rows over and move on to what the mint has settled."""
        results = await self.ask(self.credits(*rows))
        assert isinstance(results, CreditResults), results
        self.seq = results.up_to_seq + 1
        return results


@dataclass
class Basket:
    """Outputs, with what opens their signatures."""

    outputs: list[BlindedMessage] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    blindings: list[bytes] = field(default_factory=list)

    def to_json(self) -> list[dict[str, object]]:
        return [output.to_json() for output in self.outputs]


class Wallet:
    """Mints and swaps over HTTP; `secret` is that of its locking key."""

    def __init__(self, session: aiohttp.ClientSession, url: str, issuer: bytes) -> None:
        self.secret = secrets.token_bytes(32)
        self.key = public_key(self.secret)
        secrecy.note("a test wallet's key", self.secret)
        self.keysets: dict[str, Keyset] = {}
        self.keyset: Keyset
        self._session = session
        self._url = url
        self._unit = Unit(issuer, 0).name
        self._shared = b""

    async def begin(self) -> "Wallet":
        """Learn the mint's keys."""
        for item in (await self.get("/hash/v1/keys"))["keysets"]:
            keyset = Keyset.from_json(item)
            self.keysets[keyset.unit] = keyset
        self.keyset = self.keysets[self._unit]
        quote_key = bytes.fromhex((await self.get("/v1/info"))["quote_key"])
        self._shared = shared_secret(self.secret, quote_key)
        return self

    async def get(self, path: str) -> Any:
        """The body of a GET that is granted."""
        async with self._session.get(self._url + path) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        """Status and body of a POST; bytes are sent as they are."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.post(self._url + path, data=sent) as reply:
            return reply.status, await reply.json()

    async def granted(self, path: str, body: object) -> Any:
        """The body of a POST that is granted."""
        status, answer = await self.post(path, body)
        assert status == 200, answer
        return answer

    async def refused(self, path: str, body: object) -> int:
        """The code of a refusal, which comes with HTTP 400 and a sentence."""
        status, answer = await self.post(path, body)
        assert status == 400, (status, answer)
        assert set(answer) == {"detail", "code"}
        assert len(answer["detail"]) > 10
        return int(answer["code"])

    def quote(self, row: CreditRow) -> str:
        """The id of a share's quote."""
        return quote_id(self._shared, sha256d(row.header))

    def basket(self, *amounts: int) -> Basket:
        """Fresh outputs of these amounts."""
        basket = Basket()
        for amount in amounts:
            text, blinding = secrets.token_hex(32), secrets.token_bytes(32)
            blinded = bdhke.blind(text, blinding)
            basket.outputs.append(BlindedMessage(amount, self.keyset.keyset_id, blinded))
            basket.texts.append(text)
            basket.blindings.append(blinding)
            secrecy.note("a test wallet's output", text, blinding, blinded)
        return basket

    def sign(self, quote: str, outputs: Sequence[BlindedMessage], secret: bytes | None = None) -> str:
        """The signature that unlocks a quote for these outputs."""
        return quote_signature.sign(secret or self.secret, quote, outputs, secrets.token_bytes(32)).hex()

    def claim(self, quote: str, basket: Basket) -> dict[str, Any]:
        """The body that mints a quote."""
        return {
            "quote": quote,
            "outputs": basket.to_json(),
            "signature": self.sign(quote, basket.outputs),
        }

    def swap(self, proofs: Sequence[Proof], basket: Basket) -> dict[str, Any]:
        """The body that swaps tokens."""
        return {"inputs": [proof.to_json() for proof in proofs], "outputs": basket.to_json()}

    def open(self, basket: Basket, answer: Any) -> list[Proof]:
        """The tokens of a granted request."""
        signatures = [BlindSignature.from_json(item) for item in answer["signatures"]]
        return [
            Proof(
                each.amount,
                each.keyset_id,
                text,
                bdhke.unblind(each.signature, blinding, self.keyset.keys[each.amount]),
            )
            for each, text, blinding in zip(signatures, basket.texts, basket.blindings, strict=True)
        ]

    async def tokens(self, issuer: Issuer, *amounts: int) -> list[Proof]:
        """Tokens of these amounts for one share that the issuer credits."""
        row = mine(sum(amounts), self.key)
        assert not (await issuer.credit(row)).results
        basket = self.basket(*amounts)
        return self.open(basket, await self.granted("/v1/mint/ehash", self.claim(self.quote(row), basket)))
