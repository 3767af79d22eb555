"""Carrying requests out: sent, answered or found again, and settled in one write; after a crash, too.

The order that no crash can break: request, outputs and held tokens are in the store before the request is
sent; what comes of it is stored in one write. A request without an answer is sent again as it stands.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from protocols.cashu.models import BlindSignature, Dleq
from protocols.cashu.token import Token, encode_v4
from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection
from roles.wallet import exchange, handout, history, invoice, melting, purse, request
from roles.wallet.errors import MintDishonest, MintError, MintRefused, MintUnreachable
from roles.wallet.exchange import Exchange
from roles.wallet.handout import Handout
from roles.wallet.keyring import Output
from roles.wallet.kit import Kit
from roles.wallet.mint_api import MeltQuote
from roles.wallet.purse import HeldProof
from roles.wallet.scan import scan_keyset
from roles.wallet.signatures import open_answer, open_one
from roles.wallet.swap import open_outputs

log = logging.getLogger(__name__)

STATES_AT_ONCE = 100
_PAUSES = (0.5, 1.0, 2.0, 5.0, 15.0)
_OUTPUTS_SIGNED = 11003
_LATER_CODES = {11002, 11004}
"""Inputs or outputs are held by another request of this moment."""
_KEYSET_CODES = {12001, 12002, 12003}


@dataclass(frozen=True, slots=True)
class Settled:
    """What an exchange came to: new tokens of ours, the token that was made for somebody else, the fee, the
    proof of a payment.
    """

    received: int
    fee: int
    token: Handout | None = None
    preimage: str | None = field(default=None, repr=False)


class Exchanger:
    """Sends what is in the store, one request at a time, and settles it."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Settle for ever what was left open; an outage of the mint is waited out."""
        failures = 0
        while True:
            self._wake.clear()
            try:
                await self.settle_open()
            except (MintError, StorageError) as error:
                log.warning("a request to the mint waits: %s", error)
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
            else:
                failures = 0
                await self._wake.wait()

    async def settle_open(self) -> None:
        """Carry out what a former life, or an outage, has left open; raises MintUnreachable."""
        for kept in await self._kit.database.read(exchange.unsettled):
            try:
                await self.carry_out(kept)
            except (MintRefused, MintDishonest) as error:
                log.warning("request %d to the mint came to nothing: %s", kept.exchange_id, error)

    async def carry_out(self, kept: Exchange) -> Settled:
        """Send a request that is in the store, and settle it.

        Raises MintUnreachable (it stays open and is sent again), MintRefused (its tokens are free again, but
        those that the mint holds for spent), MintDishonest (it is kept aside with its tokens).
        """
        try:
            async with self._turn:
                if not await self._kit.database.read(lambda c: exchange.is_open(c, kept.exchange_id)):
                    return Settled(0, 0)
                return await self._carry_out(kept)
        except MintUnreachable:
            self._wake.set()
            raise

    def outputs(self, kept: Exchange) -> list[Output]:
        """What the request asks to be signed, with what opens it."""
        return open_outputs(self._kit, kept.keyset_id, kept.outputs)

    async def _carry_out(self, kept: Exchange) -> Settled:
        try:
            if kept.kind == "melt":
                return await self._melted(kept, await melting.melt(self._kit, kept))
            signatures = await self._kit.mint.mint(kept.path, kept.body)
            return await self._answered(kept, signatures)
        except MintRefused as refusal:
            return await self._refused(kept, refusal)
        except MintDishonest as error:
            await self._dispute(kept, error)
            raise

    async def _dispute(self, kept: Exchange, error: MintDishonest) -> None:
        log.error("request %d: %s; it is kept aside with its tokens", kept.exchange_id, error)
        self._kit.meters.alarms.labels("dishonest").inc()
        self._kit.meters.exchanges.labels(kept.kind, "disputed").inc()
        now = self._kit.clock_ms()
        await self._kit.database.write(lambda c: exchange.finish(c, kept.exchange_id, "disputed", now))

    async def _melted(self, kept: Exchange, quote: MeltQuote) -> Settled:
        outputs = self.outputs(kept)
        change = list(quote.change)
        if not change and outputs:
            # Not every mint tells the change to who asks later.
            signed = await self._kit.mint.restore([output.message for output in outputs])
            change = [signature for _, signature in signed]
        if len(change) > len(outputs):
            raise MintDishonest("the mint gave more change than it was asked for")
        keyset = await self._kit.keysets.keyset(kept.keyset_id)
        pairs = zip(outputs, change, strict=False)
        proofs = [open_one(keyset, output, signature) for output, signature in pairs]
        now = self._kit.clock_ms()
        short = replace(kept, outputs=kept.outputs[: len(proofs)])
        crash.at("wallet.exchange-answered")
        settled = await self._kit.database.write(
            lambda c: settle(c, short, proofs, now, mint_url=self._kit.mint.url)
        )
        crash.at("wallet.exchange-settled")
        self._kit.meters.exchanges.labels(kept.kind, "answered").inc()
        return replace(settled, preimage=quote.preimage)

    async def _answered(self, kept: Exchange, signatures: Sequence[BlindSignature]) -> Settled:
        keyset = await self._kit.keysets.keyset(kept.keyset_id)
        proofs = open_answer(keyset, self.outputs(kept), signatures)
        now, url = self._kit.clock_ms(), self._kit.mint.url
        if kept.kind == "send":
            url = await self._kit.keysets.url(kept.unit)
        crash.at("wallet.exchange-answered")
        settled = await self._kit.database.write(lambda c: settle(c, kept, proofs, now, mint_url=url))
        crash.at("wallet.exchange-settled")
        self._kit.meters.exchanges.labels(kept.kind, "answered").inc()
        return settled

    async def _refused(self, kept: Exchange, refusal: MintRefused) -> Settled:
        if refusal.code in _LATER_CODES:
            raise MintUnreachable(str(refusal)) from refusal
        # An earlier, unanswered sending may have been carried out by a mint that repeats no answer.
        signatures = None if kept.kind == "melt" else await self._recovered(self.outputs(kept))
        if signatures is not None:
            return await self._answered(kept, signatures)
        if refusal.code in _KEYSET_CODES:
            await self._kit.keysets.refresh(kept.unit)
        if refusal.code == _OUTPUTS_SIGNED:
            await self._pass_counters(kept)
        own = await self._kit.database.read(lambda c: purse.spent_by(c, kept.exchange_id))
        states = await check_states(self._kit, [held.y for held in own])
        spent = [held.y for held in own if states[held.y] == "spent"]
        now = self._kit.clock_ms()

        def give_up(connection: Connection) -> None:
            lost = purse.release(connection, kept.exchange_id, spent)
            if lost:
                total = sum(coin.amount for coin in lost)
                history.record(connection, "lost", kept.unit, -total, now, exchange_id=kept.exchange_id)
            exchange.finish(connection, kept.exchange_id, "refused", now)

        await self._kit.database.write(give_up)
        self._kit.meters.exchanges.labels(kept.kind, "refused").inc()
        if spent:
            log.error("%d tokens of the wallet have been spent by somebody else of its seed", len(spent))
            self._kit.meters.alarms.labels("spent").inc(len(spent))
        raise refusal

    async def _recovered(self, outputs: Sequence[Output]) -> list[BlindSignature] | None:
        """The signatures of all outputs if the mint has given them before."""
        messages = [output.message for output in outputs]
        signed = {message.blinded: found for message, found in await self._kit.mint.restore(messages)}
        found = [signed.get(message.blinded) for message in messages]
        complete = [
            signature
            for message, signature in zip(messages, found, strict=True)
            if signature is not None and signature.amount == message.amount
        ]
        return complete if len(complete) == len(messages) else None

    async def _pass_counters(self, kept: Exchange) -> None:
        """Counters were used before, by a second wallet of this seed: find what it has, and go on behind
        it.
        """
        first = min((wanted.counter for wanted in kept.outputs if wanted.counter is not None), default=0)
        keyset = await self._kit.keysets.keyset(kept.keyset_id)
        found = await scan_keyset(self._kit.mint, self._kit.keyring, keyset, first)
        now = self._kit.clock_ms()

        def keep(connection: Connection) -> None:
            total = purse.put(connection, found.proofs, None, now)
            history.record_new(connection, "restore", [(kept.keyset_id, total)], now)
            request.advance(connection, kept.keyset_id, found.next_counter)

        await self._kit.database.write(keep)


async def check_states(kit: Kit, ys: Sequence[bytes]) -> dict[bytes, str]:
    """The mint's word on tokens, in the words of the store; raises MintError."""
    found: dict[bytes, str] = {}
    for start in range(0, len(ys), STATES_AT_ONCE):
        batch = ys[start : start + STATES_AT_ONCE]
        words = await kit.mint.check_state(batch)
        found |= {y: purse.state_word(word) for y, word in zip(batch, words, strict=True)}
    return found


def settle(
    connection: Connection, kept: Exchange, proofs: Sequence[HeldProof], now_ms: int, *, mint_url: str
) -> Settled:
    """Write what a request came to: tokens spent, new ones ours or handed out, and the history."""
    paid = purse.settle(connection, kept.exchange_id)
    ours = [held for held, wanted in zip(proofs, kept.outputs, strict=True) if not wanted.given]
    given = [
        replace(held, proof=replace(held.proof, ephemeral_key=wanted.ephemeral_key))
        for held, wanted in zip(proofs, kept.outputs, strict=True)
        if wanted.given
    ]
    received = purse.put(connection, ours, None, now_ms)
    fee = paid - received - int(kept.plan["amount"]) if kept.kind == "melt" else kept.fee
    token = None
    if given:
        token = _hand_out(connection, kept, given, now_ms, mint_url)
    if kept.kind == "mint":
        invoice.settle(connection, str(kept.plan["quote"]), "minted", now_ms)
    kind = _take_back(connection, kept, now_ms) if kept.kind == "receive" else kept.kind
    history.record(
        connection,
        "invoice" if kind == "mint" else kind,
        kept.unit,
        received - paid,
        now_ms,
        fee=fee,
        note=kept.plan.get("memo"),
        token_id=None if token is None else token.token_id,
        exchange_id=kept.exchange_id,
    )
    exchange.finish(connection, kept.exchange_id, "answered", now_ms)
    return Settled(received, fee, token)


def token_text(mint_url: str, unit: str, given: Sequence[HeldProof], memo: str | None) -> str:
    """A token (version 4) of proofs with their blinding factors, by which everybody can check them."""
    proofs = []
    for held in given:
        dleq = held.proof.dleq
        if dleq is not None and held.blinding is not None:
            dleq = Dleq(dleq.e, dleq.s, held.blinding)
        proofs.append(replace(held.proof, dleq=dleq))
    proofs.sort(key=lambda proof: (proof.keyset_id, proof.amount))
    return encode_v4(Token(mint_url, tuple(proofs), unit, memo))


def _hand_out(
    connection: Connection, kept: Exchange, given: Sequence[HeldProof], now_ms: int, mint_url: str
) -> Handout:
    memo = kept.plan.get("memo")
    text = token_text(mint_url, kept.unit, given, memo)
    amount = sum(held.proof.amount for held in given)
    locked = bool(kept.plan.get("locked"))
    token = handout.add(connection, kept.unit, amount, text, now_ms, memo=memo, locked=locked)
    pending = [replace(held, state="pending") for held in given]
    purse.put(connection, pending, None, now_ms, token_id=token.token_id)
    return token


def _take_back(connection: Connection, kept: Exchange, now_ms: int) -> history.Kind:
    """What we had handed out ourselves is not out any more; whether it was that, for the history."""
    ys = [HeldProof(proof, None).y for proof in kept.inputs]
    tokens = handout.ids_of(connection, ys)
    purse.mark_spent(connection, ys)
    for token_id in tokens:
        handout.settle(connection, token_id, "returned", now_ms)
    return "return" if tokens else "receive"
