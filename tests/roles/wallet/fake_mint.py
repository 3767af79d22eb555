"""A fake mint for the wallet's tests: real blind signatures over HTTP on loopback, everything else in memory.

It is not the project's mint. It keeps the rules that a wallet meets (NUT-03 to 09, 20, 29, XX) and can be
told to misbehave: `after` and `before` hold functions that are called around each request and may answer in
its place.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from protocols.bitcoin.secp256k1 import public_key, schnorr_verify
from protocols.cashu import bdhke, dleq, lookup, quote_signature
from protocols.cashu.curve import secret_point
from protocols.cashu.denominations import input_fee
from protocols.cashu.errors import CashuError
from protocols.cashu.keyset import Keyset, derive_private_keys, keyset_id_v2, public_keys
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof
from protocols.cashu.token import Token, encode_v4
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.lightning.invoice import decode

UNIT = "hash_" + "02" * 33 + "_0"
MINT_KEY = b"\x11" * 32
QUOTE_KEY = b"\x22" * 32

Hook = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]]


class Refusal(Exception):
    """What the fake mint answers with HTTP 400."""

    def __init__(self, code: int, detail: str = "refused") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass
class FakeQuote:
    """A paid quote, locked to a key."""

    quote_id: str
    share_hash: bytes
    public_key: bytes
    amount: int
    unit: str
    issued: int = 0
    updated_at: int = 0

    def to_json(self) -> dict[str, object]:
        return {
            "quote": self.quote_id,
            "request": self.share_hash.hex(),
            "method": "ehash",
            "unit": self.unit,
            "amount": self.amount,
            "amount_paid": self.amount,
            "amount_issued": self.issued,
            "updated_at": self.updated_at,
            "pubkey": self.public_key.hex(),
        }


@dataclass
class FakeKeyset:
    """A keyset with its private half."""

    private: dict[int, bytes]
    public: Keyset
    active: bool = True


@dataclass
class FakeMint:
    """The mint's state and its switches."""

    clock: Callable[[], float]
    replays: bool = True
    batches: bool = True
    views: bool = False
    forms: tuple[str, ...] = ("amended", "legacy")
    quotes: dict[str, FakeQuote] = field(default_factory=dict)
    keysets: dict[str, FakeKeyset] = field(default_factory=dict)
    signed: dict[bytes, BlindSignature] = field(default_factory=dict)
    spent: set[bytes] = field(default_factory=set)
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    answers: dict[bytes, bytes] = field(default_factory=dict)
    melts: dict[str, dict[str, Any]] = field(default_factory=dict)
    melt_inputs: dict[str, Any] = field(default_factory=dict)
    fate: str = "PAID"
    """What becomes of payments: PAID, PENDING, or UNPAID, which fails them."""
    before: Hook | None = None
    after: Hook | None = None
    page_size: int = 3

    def __post_init__(self) -> None:
        self.add_keyset(UNIT)

    def add_keyset(self, unit: str, index: int = 0, fee: int = 0) -> FakeKeyset:
        private = derive_private_keys(b"\x07" * 64, unit, index, 53)
        public = public_keys(private)
        keyset = FakeKeyset(private, Keyset(keyset_id_v2(public, unit, fee), unit, public, fee))
        self.keysets[keyset.public.keyset_id] = keyset
        return keyset

    def pay(self, key: bytes, share_hash: bytes, amount: int, unit: str = UNIT) -> FakeQuote:
        """Hold a paid quote for a share, as after a credit on the issuance link."""
        name = quote_id(shared_secret(QUOTE_KEY, key), share_hash)
        return self.quotes.setdefault(name, FakeQuote(name, share_hash, key, amount, unit))

    def issued(self) -> int:
        return sum(quote.issued for quote in self.quotes.values())

    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]

    # HTTP

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = request.path
        self.seen.append((path, body))
        if self.before and (answer := await self.before(request, body)):
            return answer
        try:
            text = self._answer(path, body)
            response = web.Response(body=text, content_type="application/json")
        except (Refusal, CashuError) as error:
            content = {"detail": error.detail, "code": error.code}
            response = web.json_response(content, status=400)
        if self.after and (answer := await self.after(request, body)):
            return answer
        return response

    def _answer(self, path: str, raw: bytes) -> bytes:
        body: Any = json.loads(raw) if raw else {}
        if path == "/v1/info":
            return json.dumps(self._info()).encode()
        if path == "/v1/keysets":
            shown = self._view(lambda unit: not (self.views and unit.startswith("hash_")))
            return json.dumps({"keysets": shown}).encode()
        if self.views and path == "/hash/v1/keysets":
            return json.dumps({"keysets": self._view(lambda unit: unit.startswith("hash_"))[-32:]}).encode()
        if self.views and path.startswith("/hash/") and path.endswith("/v1/keysets"):
            name = path.split("/")[2]
            if not (shown := self._view(lambda unit: unit == name)):
                raise Refusal(11013, "no such unit")
            return json.dumps({"keysets": shown}).encode()
        if path.startswith("/v1/keys/"):
            return json.dumps({"keysets": [self._keys(path.removeprefix("/v1/keys/"))]}).encode()
        if path == "/v1/restore":
            return json.dumps(self._restore(body)).encode()
        if path == "/v1/checkstate":
            return json.dumps(self._states(body)).encode()
        if path == "/v1/mint/quote/ehash/check" and self.batches:
            return json.dumps([self._quote(name).to_json() for name in body["quotes"]]).encode()
        if path == "/v1/mint/quote/ehash/pubkey":
            return json.dumps(self._look_up(body)).encode()
        if path.startswith("/v1/mint/quote/ehash/"):
            return json.dumps(self._quote(path.rsplit("/", 1)[1]).to_json()).encode()
        if path == "/v1/mint/ehash/batch" and self.batches:
            return self._mint(raw, body["quotes"], body["quote_amounts"], body["outputs"], body["signatures"])
        if path == "/v1/melt/quote/bolt11":
            return json.dumps(self._melt_quote(body)).encode()
        if path.startswith("/v1/melt/quote/bolt11/"):
            return json.dumps(self.melts[path.rsplit("/", 1)[1]]).encode()
        if path == "/v1/melt/bolt11":
            return json.dumps(self._melt(body)).encode()
        if path == "/v1/swap":
            return self._swap(raw, body)
        if path == "/v1/mint/ehash":
            amount = sum(output["amount"] for output in body["outputs"])
            return self._mint(raw, [body["quote"]], [amount], body["outputs"], [body["signature"]])
        raise Refusal(0, "Not found")

    def _info(self) -> dict[str, object]:
        nuts: dict[str, object] = {"XX": {"supported": True, "max_pubkeys": 50, "max_page_size": 100}}
        if self.batches:
            nuts["29"] = {"max_batch_size": 20, "methods": ["ehash"]}
        return {
            "name": "fake",
            "pubkey": public_key(MINT_KEY).hex(),
            "quote_key": public_key(QUOTE_KEY).hex(),
            "nuts": nuts,
        }

    def _head(self, keyset: FakeKeyset) -> dict[str, object]:
        return {
            "id": keyset.public.keyset_id,
            "unit": keyset.public.unit,
            "active": keyset.active,
            "input_fee_ppk": keyset.public.input_fee_ppk,
        }

    def _view(self, shows: Callable[[str], bool]) -> list[dict[str, object]]:
        return [self._head(keyset) for keyset in self.keysets.values() if shows(keyset.public.unit)]

    def _keys(self, keyset_id: str) -> dict[str, object]:
        if keyset_id not in self.keysets:
            raise Refusal(12001)
        keyset = self.keysets[keyset_id]
        keys = {str(amount): key.hex() for amount, key in keyset.public.keys.items()}
        return {**self._head(keyset), "keys": keys, "final_expiry": None}

    def _quote(self, name: str) -> FakeQuote:
        if name not in self.quotes:
            raise Refusal(0, "quote not found")
        return self.quotes[name]

    def _mint(
        self, raw: bytes, names: list[str], amounts: list[int], raw_outputs: list[Any], signatures: list[str]
    ) -> bytes:
        if self.replays and raw in self.answers:
            return self.answers[raw]
        quotes = [self._quote(name) for name in names]
        outputs = [BlindedMessage.from_json(output) for output in raw_outputs]
        for quote, signature in zip(quotes, signatures, strict=True):
            if not self._is_signed(quote, outputs, bytes.fromhex(signature)):
                raise Refusal(20008, "signature")
        for quote, amount in zip(quotes, amounts, strict=True):
            if quote.issued == quote.amount:
                raise Refusal(20002, "already issued")
            if quote.issued + amount > quote.amount:
                raise Refusal(11006, "amount")
        if sum(amounts) != sum(output.amount for output in outputs):
            raise Refusal(11005, "not balanced")
        if any(output.blinded in self.signed for output in outputs):
            raise Refusal(11003, "outputs already signed")
        made = [self.sign(output, quotes[0].unit) for output in outputs]
        for quote, amount in zip(quotes, amounts, strict=True):
            quote.issued += amount
            quote.updated_at += 1
        answer = json.dumps({"signatures": [signature.to_json() for signature in made]}).encode()
        self.answers[raw] = answer
        return answer

    def _swap(self, raw: bytes, body: Any) -> bytes:
        if self.replays and raw in self.answers:
            return self.answers[raw]
        inputs = [Proof.from_json(item) for item in body["inputs"]]
        assert not any(proof.dleq for proof in inputs)
        outputs = [BlindedMessage.from_json(output) for output in body["outputs"]]
        assert [output.amount for output in outputs] == sorted(output.amount for output in outputs)
        ys = [secret_point(proof.secret) for proof in inputs]
        if self.spent.intersection(ys):
            raise Refusal(11001, "spent")
        for proof in inputs:
            keyset = self.keysets[proof.keyset_id]
            if not bdhke.verify(keyset.private[proof.amount], proof.secret, proof.signature):
                raise Refusal(10001, "no proof of ours")
        fee = input_fee(self.keysets[proof.keyset_id].public.input_fee_ppk for proof in inputs)
        if sum(proof.amount for proof in inputs) - fee != sum(output.amount for output in outputs):
            raise Refusal(11005, "not balanced")
        if any(output.blinded in self.signed for output in outputs):
            raise Refusal(11003, "outputs already signed")
        unit = self.keysets[inputs[0].keyset_id].public.unit
        made = [self.sign(output, unit) for output in outputs]
        self.spent.update(ys)
        self.answers[raw] = json.dumps({"signatures": [each.to_json() for each in made]}).encode()
        return self.answers[raw]

    def _melt_quote(self, body: Any) -> dict[str, Any]:
        amount = (decode(body["request"]).amount_msat or 0) // 1000
        name = f"melt{len(self.melts)}"
        quote = {"quote": name, "amount": amount, "unit": "sat", "fee_reserve": 4, "state": "UNPAID"}
        self.melts[name] = quote | {"expiry": int(self.clock()) + 900}
        return self.melts[name]

    def _melt(self, body: Any) -> dict[str, Any]:
        quote = self.melts[body["quote"]]
        if quote["state"] != "UNPAID":
            if self.melt_inputs[body["quote"]] == body:
                return quote
            raise Refusal(20005, "pending")
        ys = [secret_point(item["secret"]) for item in body["inputs"]]
        if self.spent.intersection(ys):
            raise Refusal(11001, "spent")
        if self.fate == "UNPAID":
            raise Refusal(20004, "no way was found")
        self.melt_inputs[body["quote"]] = body
        quote["state"] = "PENDING"
        if self.fate == "PAID":
            self.arrive(body["quote"])
        return quote

    def arrive(self, name: str, fee: int = 1) -> None:
        """A payment arrives."""
        quote, body = self.melts[name], self.melt_inputs[name]
        self.spent.update(secret_point(item["secret"]) for item in body["inputs"])
        left = sum(item["amount"] for item in body["inputs"]) - quote["amount"] - fee
        amounts = [1 << bit for bit in range(left.bit_length()) if left >> bit & 1]
        blanks = [BlindedMessage.from_json(item) for item in body.get("outputs", [])]
        change = [
            self.sign(BlindedMessage(amount, blank.keyset_id, blank.blinded), "sat").to_json()
            for blank, amount in zip(blanks, amounts, strict=False)
        ]
        quote |= {"state": "PAID", "payment_preimage": "07" * 32, "change": change}

    def give(self, url: str, amount: int, unit: str = "sat") -> str:
        """A token of this mint, out of nothing."""
        keyset = next(each for each in self.keysets.values() if each.public.unit == unit)
        sizes = [1 << bit for bit in range(amount.bit_length()) if amount >> bit & 1]
        proofs = []
        for size in sizes:
            secret = f"given {len(self.signed)} {size} {amount}"
            point = bdhke.sign(keyset.private[size], secret_point(secret))
            proofs.append(Proof(size, keyset.public.keyset_id, secret, point))
        return encode_v4(Token(url, tuple(proofs), unit))

    def _is_signed(self, quote: FakeQuote, outputs: list[BlindedMessage], signature: bytes) -> bool:
        hashes = {
            "amended": quote_signature.message_hash(quote.quote_id, outputs),
            "legacy": quote_signature.legacy_message_hash(quote.quote_id, outputs),
        }
        key = quote.public_key[1:]
        return any(schnorr_verify(key, hashes[form], signature) for form in self.forms)

    def sign(self, output: BlindedMessage, unit: str) -> BlindSignature:
        """Sign an output for good."""
        keyset = self.keysets.get(output.keyset_id)
        if keyset is None:
            raise Refusal(12001)
        if not keyset.active:
            raise Refusal(12002)
        if keyset.public.unit != unit:
            raise Refusal(11010)
        private, public = keyset.private[output.amount], keyset.public.keys[output.amount]
        blind = bdhke.sign(private, output.blinded)
        proof = dleq.prove(private, public, output.blinded, blind)
        self.signed[output.blinded] = BlindSignature(output.amount, output.keyset_id, blind, proof)
        return self.signed[output.blinded]

    def _restore(self, body: Any) -> dict[str, object]:
        known = [BlindedMessage.from_json(output) for output in body["outputs"]]
        hits = [output for output in known if output.blinded in self.signed]
        return {
            "outputs": [output.to_json() for output in hits],
            "signatures": [self.signed[output.blinded].to_json() for output in hits],
        }

    def _states(self, body: Any) -> dict[str, object]:
        states = [
            {"Y": y, "state": "SPENT" if bytes.fromhex(y) in self.spent else "UNSPENT"} for y in body["Ys"]
        ]
        return {"states": states}

    def _look_up(self, body: Any) -> dict[str, object]:
        request = lookup.LookupRequest.from_json(body, now=int(self.clock()), max_keys=50)
        request.verify(public_key(MINT_KEY))
        matching = sorted(
            (quote for quote in self.quotes.values() if quote.public_key in request.keys),
            key=lambda quote: quote.quote_id,
        )
        if request.only_mintable:
            matching = [quote for quote in matching if quote.issued < quote.amount]
        after = [quote for quote in matching if request.cursor is None or quote.quote_id > request.cursor]
        size = min(self.page_size, request.limit or self.page_size)
        page = after[:size]
        cursor = page[-1].quote_id if len(after) > size else None
        return {"quotes": [quote.to_json() for quote in page], "next_cursor": cursor}


async def lose(request: web.Request, _: bytes) -> web.StreamResponse | None:
    """A hook that cuts the connection instead of answering a mint request."""
    if is_minting(request):
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
    return None


def is_minting(request: web.Request) -> bool:
    return request.path in {"/v1/mint/ehash", "/v1/mint/ehash/batch", "/v1/swap"}
