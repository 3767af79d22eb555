"""Receiving: a token is checked against the mint's keys and at once swapped for tokens of our own secrets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import orjson

from protocols.cashu import dleq, unlocking
from protocols.cashu import token as token_form
from protocols.cashu.errors import CashuError, MalformedError
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import Proof
from protocols.cashu.payment import Payload
from protocols.cashu.token import Token
from roles.runtime import crash
from roles.wallet import exchange, purse
from roles.wallet.errors import (
    ForeignTokenError,
    MintRefused,
    MintUnreachable,
    MintWaitsError,
    TokenError,
    TokenSpentError,
)
from roles.wallet.exchange import Order
from roles.wallet.exchanging import Exchanger, check_states
from roles.wallet.kit import Kit
from roles.wallet.mint_client import SWAP_PATH
from roles.wallet.purse import HeldProof
from roles.wallet.signatures import denominations
from roles.wallet.swap import body_of, open_outputs, place
from roles.wallet.unlocking import Unlocker

INPUTS = 200
"""Most proofs of a token that go into one request."""
_SPENT = 11001
_KEYSETS = {12001, 12002}


@dataclass(frozen=True, slots=True)
class Received:
    """What was taken in: `amount` after the mint's fee. `spent` proofs of the token were worth nothing any
    more; `is_checked` says that every proof had the mint's own proof of its signature (DLEQ).
    """

    unit: str
    amount: int
    fee: int
    proofs: int
    spent: int
    is_checked: bool
    memo: str | None


class Receiver:
    """Takes tokens in."""

    def __init__(self, kit: Kit, exchanger: Exchanger, unlocker: Unlocker) -> None:
        self._kit = kit
        self._exchanger = exchanger
        self._unlocker = unlocker

    async def receive(
        self, text: str, *, secret: bytes | None = None, preimage: bytes | None = None
    ) -> Received:
        """Take a token in, of version 3 or 4; a private key or a preimage may be brought for one that is
        locked.

        Raises TokenError, MintRefused, and MintWaitsError when the mint does not answer: it is taken in
        later then.
        """
        token, checked = await self._read(text)
        await self._check_not_ours(token)
        keys = await self._unlocker.keys(token.proofs, secret=secret, preimage=preimage)
        proofs = token.proofs
        amount = fee = spent = 0
        while True:
            try:
                for batch in _batches(proofs):
                    settled = await self._swap(batch, keys, token.memo)
                    amount += settled[0]
                    fee += settled[1]
                    proofs = proofs[len(batch) :]
            except MintRefused as refusal:
                if refusal.code != _SPENT:
                    raise
                left = await self._unspent(proofs)
                if len(left) == len(proofs):
                    raise
                spent += len(proofs) - len(left)
                proofs = left
                if proofs:
                    continue
                if not amount:
                    raise TokenSpentError("this token has been spent already") from refusal
            unit = token.unit or ""
            return Received(unit, amount, fee, len(token.proofs) - spent, spent, checked, token.memo)

    async def _read(self, text: str) -> tuple[Token, bool]:
        """The token with full keyset ids, checked against the mint's keys; and whether all had a DLEQ."""
        try:
            token = _decode(text)
        except CashuError as error:
            raise TokenError(
                f"this is no token that can be read: {error.detail}",
                hint="a token is one word that begins with cashuA or cashuB; part of it may be missing",
            ) from error
        await self._check_mint(token)
        keysets = await self._kit.keysets.named({proof.keyset_id for proof in token.proofs}, token.unit)
        try:
            token = token.with_full_ids(keysets)
        except CashuError as error:
            raise TokenError(f"the mint does not know the token's keys: {error.detail}") from error
        units = {keysets[proof.keyset_id].unit for proof in token.proofs}
        if len(units) != 1 or token.unit not in {None, *units}:
            raise TokenError("the token's unit is not that of its keysets")
        if len({proof.secret for proof in token.proofs}) != len(token.proofs):
            raise TokenError("the token has a proof twice")
        for proof in token.proofs:
            _check_proof(proof, keysets[proof.keyset_id])
        has_all = all(proof.dleq is not None and proof.dleq.blinding is not None for proof in token.proofs)
        return replace(token, unit=units.pop()), has_all

    async def _check_mint(self, token: Token) -> None:
        own = await self._kit.link.info()
        if not any(same_mint(token.mint, url) for url in (self._kit.mint.url, *own.urls)):
            shown = "".join(letter if letter.isprintable() else "?" for letter in token.mint[:200])
            raise ForeignTokenError(
                f"this token is of the mint {shown}, this wallet's is {self._kit.mint.url}",
                hint=f"receive it by a wallet of that mint: hashpool wallet receive --own --mint {shown}",
            )

    async def _check_not_ours(self, token: Token) -> None:
        ys = [HeldProof(proof, None).y for proof in token.proofs]
        held = await self._kit.database.read(lambda c: purse.by_ys(c, ys))
        if any(item.state == "unspent" for item in held):
            raise TokenError("the wallet holds what is in this token already")

    async def _swap(
        self, proofs: Sequence[Proof], keys: unlocking.Keyring, memo: str | None
    ) -> tuple[int, int]:
        """Swap one batch; what is received and the fee."""
        for attempt in range(2):
            known = await self._kit.keysets.named({proof.keyset_id for proof in proofs}, None)
            unit = known[proofs[0].keyset_id].unit
            keyset = await self._kit.keysets.active(unit)
            fee = (sum(known[proof.keyset_id].input_fee_ppk for proof in proofs) + 999) // 1000
            total = sum(proof.amount for proof in proofs) - fee
            if total <= 0:
                raise TokenError(f"the mint asks a fee of {fee}, which is all that the token is worth")
            parts = denominations(total, keyset.keys)
            # Signatures may be over the outputs, so that these come first; a crash here burns their
            # counters only.
            wanted = await self._kit.database.write(partial(place, keyset=keyset, ours=parts))
            outputs = open_outputs(self._kit, keyset.keyset_id, wanted)
            signed = self._unlocker.unlock(proofs, [output.message for output in outputs], keys)
            order = Order(
                kind="receive",
                unit=unit,
                keyset_id=keyset.keyset_id,
                fee=fee,
                outputs=wanted,
                plan={"memo": memo},
                path=SWAP_PATH,
                body=body_of(signed, outputs),
            )
            kept = await self._kit.database.write(
                partial(exchange.keep, order=order, now_ms=self._kit.clock_ms())
            )
            crash.at("wallet.exchange-stored")
            try:
                settled = await self._exchanger.carry_out(kept)
            except MintUnreachable as error:
                raise MintWaitsError(
                    f"{error}; the token is kept and is taken in as soon as the mint answers"
                ) from error
            except MintRefused as refusal:
                if refusal.code in _KEYSETS and not attempt:
                    continue
                raise
            return settled.received, settled.fee
        raise AssertionError

    async def _unspent(self, proofs: Sequence[Proof]) -> tuple[Proof, ...]:
        ys = [HeldProof(proof, None).y for proof in proofs]
        states = await check_states(self._kit, ys)
        return tuple(proof for proof, y in zip(proofs, ys, strict=True) if states[y] != "spent")


def _decode(text: str) -> Token:
    """A token, or what answers a payment request."""
    if not text.lstrip().startswith("{"):
        return token_form.decode(text)
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedError("it is not JSON") from error
    payment = Payload.from_json(body)
    return Token(payment.mint, payment.proofs, payment.unit, payment.memo)


def same_mint(one: str, other: str) -> bool:
    """Whether two addresses are of one mint: by whatever view of it, and whatever case."""
    return _mint_of(one) == _mint_of(other)


def _mint_of(url: str) -> str:
    base, _, _ = url.rstrip("/").partition("/hash")
    return base.casefold()


def _check_proof(proof: Proof, keyset: Keyset) -> None:
    key = keyset.keys.get(proof.amount)
    if key is None:
        raise TokenError(f"the mint has no key for a proof of {proof.amount}")
    if proof.dleq is not None and proof.dleq.blinding is not None and not dleq.verify_proof(key, proof):
        raise TokenError(
            "the token is forged: its proofs (DLEQ) are not of the mint's keys",
            hint="do not take it for payment",
        )


def _batches(proofs: Sequence[Proof]) -> list[Sequence[Proof]]:
    return [proofs[start : start + INPUTS] for start in range(0, len(proofs), INPUTS)]
