"""What the mint does for wallets, free of HTTP: each method takes a parsed body and gives values or raises.

A request that fails is first looked for among those that were carried out: a wallet that lost the answer asks
again, and finds its inputs spent or its quote minted by itself (NUT-19, from the store and for ever).
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from protocols.cashu import p2pk
from protocols.cashu.errors import CashuError, SignatureError, UnitUnsupportedError
from protocols.cashu.lookup import LookupRequest, check_timestamp, verify
from protocols.cashu.models import BlindedMessage, BlindSignature
from protocols.cashu.subscription import PROOF_STATE, mint_quote_kind
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.ehash.shift import METHOD
from roles.mint import quote_rows, rules, shift_rows, signatory, transaction
from roles.mint.cursor import CursorCodec
from roles.mint.errors import CountersBrokenError
from roles.mint.halts import WATCHDOG, Halts
from roles.mint.keysets import KeysetBook, MintKeyset
from roles.mint.meters import Meters
from roles.mint.method import EhashMethod, Method
from roles.mint.notice_board import NoticeBoard
from roles.mint.quote import Quote
from roles.mint.recent_quotes import RecentQuotes
from roles.mint.request import MintRequest, Sizes, SwapRequest, read_outputs, read_points, read_quote_ids
from roles.mint.seed import MintSeed
from roles.mint.shift_rows import ToldShift
from roles.mint.signatory import Signatory
from roles.runtime import crash
from roles.runtime.storage import Database

SHARE_LIMIT = 100


@dataclass(frozen=True, slots=True)
class ProofState:
    """Whether a proof, named by its Y, is spent, or pending for a payment, and the witness that it had."""

    point: bytes
    spent: bool
    witness: str | None
    pending: bool = False

    def to_json(self) -> dict[str, object]:
        """The item of /v1/checkstate."""
        return {
            "Y": self.point.hex(),
            "state": "SPENT" if self.spent else "PENDING" if self.pending else "UNSPENT",
            "witness": self.witness,
        }


@dataclass(frozen=True, slots=True)
class ShareClaim:
    """Who asks for the quotes of shares: a key, and its signature over the look-up text at `timestamp`."""

    key: bytes
    timestamp: int
    signature: bytes


class Teller:
    """Serves wallets from one store and one seed; `clock` gives Unix seconds."""

    def __init__(
        self,
        database: Database,
        book: KeysetBook,
        seed: MintSeed,
        signatory: Signatory,
        meters: Meters,
        *,
        clock: Callable[[], float],
        sizes: Sizes,
        public_share_lookup: bool = False,
        halts: Halts | None = None,
        methods: Sequence[Method] = (EhashMethod(),),
        board: NoticeBoard | None = None,
    ) -> None:
        self._halts = halts or Halts(database, clock)
        self._board = board or NoticeBoard()
        self._database = database
        self._book = book
        self._signatory = signatory
        self._meters = meters
        self._clock = clock
        self._mint_key = seed.info_key
        self._quote_secret = seed.quote_secret
        self._cursors = CursorCodec(seed.cursor_key)
        self._recent = RecentQuotes()
        self._public_share_lookup = public_share_lookup
        self.sizes = sizes
        self.methods = {method.name: method for method in methods}

    async def shifts(self, after: str | None, limit: int) -> tuple[list[ToldShift], str | None]:
        """A page of shifts behind that of a unit, and the unit to go on after."""
        return await self._database.read(lambda c: shift_rows.page(c, after, limit))

    async def shift(self, unit: str) -> ToldShift | None:
        """The shift of a unit."""
        return await self._database.read(lambda c: shift_rows.find(c, unit))

    async def describe(self, keysets: Sequence[MintKeyset]) -> list[dict[str, object]]:
        """The items of /v1/keys; keys that are not at hand are derived."""
        return await self._signatory.run(lambda: [keyset.to_json() for keyset in keysets])

    async def swap(self, body: object) -> list[BlindSignature]:
        """NUT-03."""
        request = SwapRequest.from_json(body, self.sizes)
        return await self._once(request, lambda: self._swap(request))

    def method(self, name: str) -> Method:
        """The payment method of a name; raises UnitUnsupportedError."""
        try:
            return self.methods[name]
        except KeyError:
            offered = ", ".join(self.methods)
            raise UnitUnsupportedError(f"the method {name[:32]!r} is not offered, only {offered}") from None

    async def create_quote(self, body: object, method: str) -> Quote:
        """NUT-04: a new quote, if the method makes them by request."""
        return await self.method(method).create(body)

    async def mint(self, body: object, method: str = METHOD) -> list[BlindSignature]:
        """NUT-04, for one quote."""
        return await self._mint_once(MintRequest.from_json(body, self.sizes), self.method(method))

    async def mint_batch(self, body: object, method: str = METHOD) -> list[BlindSignature]:
        """NUT-29, for several quotes, all or none."""
        return await self._mint_once(MintRequest.batch_from_json(body, self.sizes), self.method(method))

    async def quote(self, quote_id: str, method: str = METHOD) -> Quote:
        """One quote; raises QuoteUnknownError."""
        (quote,) = await self._quotes([quote_id], self.method(method))
        self._recent.keep(quote)
        return quote

    async def known_quotes(self, quote_ids: Sequence[str], method: str = METHOD) -> list[Quote]:
        """Those of the quotes that there are, as the store has them."""
        return await self._database.read(lambda c: quote_rows.known(c, method, quote_ids))

    async def check_quotes(self, body: object, method: str = METHOD) -> Sequence[Quote]:
        """NUT-29: quotes in the order of the request; one unknown id refuses all."""
        return await self._quotes(read_quote_ids(body, self.sizes), self.method(method))

    async def check_state(self, body: object) -> list[ProofState]:
        """NUT-07."""
        return await self.proof_states(read_points(body, self.sizes))

    async def proof_states(self, points: Sequence[bytes]) -> list[ProofState]:
        """The states of proofs by their Ys, in that order."""
        found = await self._database.read(lambda c: transaction.spent_witnesses(c, points))
        return [ProofState(point, *state) for point, state in zip(points, found, strict=True)]

    async def restore(self, body: object) -> list[tuple[BlindedMessage, BlindSignature]]:
        """NUT-09: those outputs that were signed, with their signatures."""
        outputs = read_outputs(body, self.sizes)
        points = [output.blinded for output in outputs]
        found = await self._database.read(lambda c: transaction.restore(c, points))
        return [(output, item) for output, item in zip(outputs, found, strict=True) if item is not None]

    async def look_up(self, body: object, method: str = METHOD) -> tuple[Sequence[Quote], str | None]:
        """NUT-XX: one page of the quotes locked to the keys that signed, and the cursor to the next."""
        name = self.method(method).name
        request = LookupRequest.from_json(body, now=int(self._clock()), max_keys=self.sizes.keys)
        after = "" if request.cursor is None else self._cursors.read(request.cursor, name, request.keys)
        await self._signatory.run(lambda: request.verify(self._mint_key))
        limit = min(request.limit or self.sizes.page, self.sizes.page)
        page = await self._database.read(
            lambda c: quote_rows.page(
                c, name, request.keys, after=after, limit=limit, only_mintable=request.only_mintable
            )
        )
        cursor = None if page.last is None else self._cursors.write(page.last, name, request.keys)
        return page.quotes, cursor

    async def look_up_shares(
        self, share_hashes: Sequence[bytes], claim: ShareClaim | None
    ) -> dict[bytes, str]:
        """Share hash to quote id for the key that signed; SignatureError when none did and one must."""
        if claim is None:
            if self._public_share_lookup:
                return await self._database.read(lambda c: quote_rows.of_shares(c, share_hashes))
            raise SignatureError(
                "the look-up needs the headers Ehash-Key, Ehash-Timestamp and Ehash-Signature"
            )
        key = claim.key
        timestamp = check_timestamp(claim.timestamp, int(self._clock()))
        named = await self._signatory.run(lambda: self._named(claim, timestamp, share_hashes))
        if named is None:
            raise SignatureError("the look-up signature does not verify")
        return await self._database.read(lambda c: quote_rows.of_key(c, named, key))

    def _named(
        self, claim: ShareClaim, timestamp: int, share_hashes: Sequence[bytes]
    ) -> dict[bytes, str] | None:
        """The ids that quotes of these shares have if they are the claimant's; None for a false signature."""
        if not verify(self._mint_key, claim.key, timestamp, claim.signature):
            return None
        shared = shared_secret(self._quote_secret, claim.key)
        return {share_hash: quote_id(shared, share_hash) for share_hash in share_hashes}

    async def _quotes(self, quote_ids: Sequence[str], method: Method) -> Sequence[Quote]:
        found = method.recall(quote_ids)
        if found is None:
            found = await self._database.read(lambda c: quote_rows.find(c, method.name, quote_ids))
        return await method.look(found)

    async def _mint_once(self, request: MintRequest, method: Method) -> list[BlindSignature]:
        return await self._once(request, lambda: self._mint(request, method))

    async def _once(
        self, request: SwapRequest | MintRequest, attempt: Callable[[], Awaitable[list[BlindSignature]]]
    ) -> list[BlindSignature]:
        try:
            return await attempt()
        except CashuError:
            stored = await self._database.read(
                lambda c: transaction.replay(c, request.digest, request.outputs)
            )
            if stored is None:
                raise
            self._meters.replays.inc()
            return stored
        except CountersBrokenError as error:
            await self._halts.stop(WATCHDOG, str(error), "stop")
            raise

    async def _swap(self, request: SwapRequest) -> list[BlindSignature]:
        moment = self._clock()
        now = int(moment)
        await self._book.meet(proof.keyset_id for proof in request.inputs)
        await self._book.meet(output.keyset_id for output in request.outputs)
        rules.check_swap(request, self._book, now)
        self._halts.check(self._book.get(request.outputs[0].keyset_id).unit)

        def work() -> tuple[list[bytes], list[BlindSignature]]:
            points = signatory.verify(request.inputs, self._book)
            p2pk.check_inputs(request.inputs, request.outputs, moment)
            return points, signatory.sign(request.outputs, self._book)

        points, signatures = await self._signatory.run(work)
        crash.at("mint.swap-signed")
        stored = await self._database.write(
            lambda c: transaction.store_swap(c, request, points, signatures, book=self._book, now=now)
        )
        crash.at("mint.swap-durable")
        self._board.post(PROOF_STATE, (point.hex() for point in points))
        self._meters.swapped(request) if stored else self._meters.replays.inc()
        return signatures

    async def _mint(self, request: MintRequest, method: Method) -> list[BlindSignature]:
        quote_ids = [claim.quote_id for claim in request.claims]
        recent = self._recent.take(quote_ids, method.name)
        if recent is not None:
            # What is wrong is told by the store alone.
            with suppress(CashuError):
                return await self._mint_from(request, method, recent)
        return await self._mint_from(request, method, await self._quotes(quote_ids, method))

    async def _mint_from(
        self, request: MintRequest, method: Method, quotes: Sequence[Quote]
    ) -> list[BlindSignature]:
        now = int(self._clock())
        await self._book.meet(output.keyset_id for output in request.outputs)
        portions = rules.check_mint(request, quotes, self._book, now)
        self._halts.check(quotes[0].unit, quotes[0].method)

        def work() -> list[BlindSignature]:
            rules.check_unlocked(request, quotes)
            return signatory.sign(request.outputs, self._book)

        signatures = await self._signatory.run(work)
        crash.at("mint.tokens-signed")
        method.leave(quote.quote_id for quote in quotes)
        stored = await self._database.write(
            lambda c: transaction.store_mint(c, request, portions, signatures, book=self._book, now=now)
        )
        crash.at("mint.tokens-durable")
        self._board.post(mint_quote_kind(method.name), (claim.quote_id for claim in request.claims))
        if stored:
            method.minted(quotes)
            self._meters.minted(portions)
        else:
            self._meters.replays.inc()
        return signatures
