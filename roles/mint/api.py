"""The Cashu API over HTTP: routes, and the teller's values as JSON.

Refusals are HTTP 400 with detail and code; overload is 503 with Retry-After, so that a wallet asks again.
"""

from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web

from protocols.cashu.errors import CashuError, QuoteUnknownError, UnitUnsupportedError
from protocols.cashu.fields import as_bytes, as_point
from protocols.cashu.models import BlindSignature
from roles.mint import description, operations, shift_rows
from roles.mint.errors import CountersBrokenError, OverloadedError
from roles.mint.info import MintInfo
from roles.mint.keysets import KeysetBook, MintKeyset
from roles.mint.lightning.errors import BackendError, BackendUnavailable
from roles.mint.meters import Meters
from roles.mint.request import QUOTE_ID_LIMIT
from roles.mint.teller import SHARE_LIMIT, ShareClaim, Teller
from roles.mint.told_keys import ToldKeys
from roles.mint.views import PREFIXES, Views
from roles.runtime.http import Handler, HttpRefusal, HttpServer, Operation, json_reply, read_json
from roles.runtime.http_reply import JsonReply

_CLAIM_HEADERS = ("Ehash-Key", "Ehash-Timestamp", "Ehash-Signature")


class Refusals:
    """Turns what the mint raises into HTTP answers, and counts it by code."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def __call__(self, error: Exception) -> HttpRefusal | None:
        """The answer to an error of the mint, None for one that is not its own."""
        if isinstance(error, CashuError):
            self._meters.refusals.labels(str(error.code)).inc()
            return HttpRefusal(HTTPStatus.BAD_REQUEST, error.detail, code=error.code)
        if isinstance(error, OverloadedError):
            self._meters.refusals.labels("overloaded").inc()
            headers = {"Retry-After": str(error.retry_after)}
            return HttpRefusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers=headers)
        if isinstance(error, BackendError):
            self._meters.refusals.labels("lightning").inc()
            headers = {"Retry-After": str(BackendUnavailable.retry_after)}
            text = "the Lightning node does not answer at the moment"
            return HttpRefusal(HTTPStatus.SERVICE_UNAVAILABLE, text, headers=headers)
        if isinstance(error, CountersBrokenError):
            self._meters.alarm("counters", str(error))
            return HttpRefusal(HTTPStatus.SERVICE_UNAVAILABLE, "this keyset is not redeemed at the moment")
        return None


class MintApi:
    """The handlers of every route."""

    def __init__(
        self, teller: Teller, book: KeysetBook, info: MintInfo, socket: Handler | None = None
    ) -> None:
        self._teller = teller
        self._book = book
        self._info = info
        self._views = Views(book)
        self._keys = ToldKeys(book, teller.describe)
        self._socket = socket

    def add_routes(self, server: HttpServer) -> None:
        """Serve all routes; the fixed ones come before those with a quote id."""
        routes: Sequence[tuple[str, str, Handler, Operation]] = (
            ("GET", "/v1/info", self._get_info, operations.INFO),
            ("GET", "/v1/keys", self._get_keys, operations.KEYS),
            ("GET", "/v1/keys/{keyset_id}", self._get_keyset, operations.KEYS),
            ("GET", "/v1/keysets", self._get_keysets, operations.KEYS),
            ("GET", "/v1/ehash/shifts", self._get_shifts, operations.KEYS),
            ("GET", "/v1/ehash/shifts/{of}", self._get_shift, operations.KEYS),
            ("POST", "/v1/swap", self._post_swap, operations.SWAP),
            ("POST", "/v1/checkstate", self._post_checkstate, operations.CHECK),
            ("POST", "/v1/restore", self._post_restore, operations.RESTORE),
            ("GET", "/v1/mint/quote-ids/share", self._get_share_quotes, operations.LOOK_UP),
            ("POST", "/v1/mint/quote/{method}", self._post_quote, operations.QUOTE),
            ("POST", "/v1/mint/quote/{method}/check", self._post_quotes_check, operations.QUOTE),
            ("POST", "/v1/mint/quote/{method}/pubkey", self._post_look_up, operations.LOOK_UP),
            ("GET", "/v1/mint/quote/{method}/{quote_id}", self._get_quote, operations.QUOTE),
            ("POST", "/v1/mint/{method}", self._post_mint, operations.MINT),
            ("POST", "/v1/mint/{method}/batch", self._post_mint_batch, operations.MINT),
        )
        for prefix in PREFIXES:
            for method, path, handler, operation in routes:
                server.route(method, prefix + path, handler, operation)
            if self._socket is not None:
                server.lasting(f"{prefix}/v1/ws", self._socket, operations.SOCKET)
        server.route("GET", description.PATH, _describing(server), operations.INFO)

    async def _get_info(self, request: web.Request) -> web.Response:
        return json_reply(self._info.to_json(await self._seen(request)))

    async def _get_keys(self, request: web.Request) -> web.Response:
        keysets = [keyset for keyset in await self._seen(request) if keyset.active]
        name = (_view(request), request.match_info.get("unit", "").lower())
        return JsonReply(await self._keys.body(name, keysets))

    async def _get_keyset(self, request: web.Request) -> web.Response:
        keyset_id = request.match_info["keyset_id"].lower()
        await self._book.meet([keyset_id])
        keyset = self._book.get(keyset_id)
        return JsonReply(await self._keys.body(("", keyset.keyset_id), [keyset]))

    async def _get_keysets(self, request: web.Request) -> web.Response:
        return json_reply({"keysets": [keyset.head() for keyset in await self._seen(request)]})

    async def _get_shifts(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", str(shift_rows.PAGE))
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= shift_rows.PAGE):
            raise HttpRefusal(
                HTTPStatus.BAD_REQUEST, f"limit is a number from 1 to {shift_rows.PAGE}", code=0
            )
        told, cursor = await self._teller.shifts(request.query.get("after"), int(limit))
        return json_reply({"shifts": [each.to_json() for each in told], "next_cursor": cursor})

    async def _get_shift(self, request: web.Request) -> web.Response:
        found = await self._teller.shift(request.match_info["of"].lower())
        if found is None:
            raise UnitUnsupportedError("no shift has this unit")
        return json_reply(found.to_json())

    async def _post_swap(self, request: web.Request) -> web.Response:
        return _signatures(await self._teller.swap(await read_json(request)))

    async def _post_checkstate(self, request: web.Request) -> web.Response:
        states = await self._teller.check_state(await read_json(request))
        return json_reply({"states": [state.to_json() for state in states]})

    async def _post_restore(self, request: web.Request) -> web.Response:
        found = await self._teller.restore(await read_json(request))
        return json_reply(
            {
                "outputs": [output.to_json() for output, _ in found],
                "signatures": [signature.to_json() for _, signature in found],
            }
        )

    async def _post_quote(self, request: web.Request) -> web.Response:
        method = self._method(request)
        return json_reply((await self._teller.create_quote(await read_json(request), method)).to_json())

    async def _get_quote(self, request: web.Request) -> web.Response:
        method = self._method(request)
        quote_id = request.match_info["quote_id"]
        if len(quote_id) > QUOTE_ID_LIMIT or "\0" in quote_id:
            raise QuoteUnknownError("the quote is not known")
        return json_reply((await self._teller.quote(quote_id, method)).to_json())

    async def _post_quotes_check(self, request: web.Request) -> web.Response:
        method = self._method(request)
        quotes = await self._teller.check_quotes(await read_json(request), method)
        return json_reply([quote.to_json() for quote in quotes])

    async def _post_look_up(self, request: web.Request) -> web.Response:
        method = self._method(request)
        quotes, cursor = await self._teller.look_up(await read_json(request), method)
        return json_reply({"quotes": [quote.to_json() for quote in quotes], "next_cursor": cursor})

    async def _get_share_quotes(self, request: web.Request) -> web.Response:
        texts = [text for text in request.query.get("share_hashes", "").split(",") if text]
        if not texts or len(texts) > SHARE_LIMIT:
            raise HttpRefusal(HTTPStatus.BAD_REQUEST, f"share_hashes names 1 to {SHARE_LIMIT} hashes", code=0)
        hashes = [as_bytes(text, "share hash", 32) for text in texts]
        found = await self._teller.look_up_shares(hashes, _share_claim(request))
        return json_reply(
            {"quote_ids": {share_hash.hex(): quote_id for share_hash, quote_id in found.items()}}
        )

    async def _post_mint(self, request: web.Request) -> web.Response:
        method = self._method(request)
        return _signatures(await self._teller.mint(await read_json(request), method))

    async def _post_mint_batch(self, request: web.Request) -> web.Response:
        method = self._method(request)
        return _signatures(await self._teller.mint_batch(await read_json(request), method))

    async def _seen(self, request: web.Request) -> Sequence[MintKeyset]:
        """What the view that a request uses shows."""
        unit = request.match_info.get("unit", "")
        seen = await self._views.keysets(_view(request), unit)
        if unit and not seen:
            raise HttpRefusal(
                HTTPStatus.NOT_FOUND, "the mint has no such unit", code=UnitUnsupportedError.code
            )
        return seen

    def _method(self, request: web.Request) -> str:
        """The method of the path, before the body is read; raises UnitUnsupportedError."""
        return self._teller.method(request.match_info["method"]).name


def _view(request: web.Request) -> str:
    """Which of PREFIXES a path has."""
    if "unit" in request.match_info:
        return PREFIXES[2]
    return PREFIXES[1] if request.path.startswith(PREFIXES[1] + "/") else PREFIXES[0]


def _describing(server: HttpServer) -> Handler:
    """Told when it is asked for, because others may add routes."""

    async def tell(_: web.Request) -> web.Response:
        return json_reply(description.describe(server.routes))

    return tell


def _signatures(signatures: Sequence[BlindSignature]) -> web.Response:
    return json_reply({"signatures": [signature.to_json() for signature in signatures]})


def _share_claim(request: web.Request) -> ShareClaim | None:
    key, timestamp, signature = (request.headers.get(name) for name in _CLAIM_HEADERS)
    if key is None and timestamp is None and signature is None:
        return None
    if timestamp is None or not (timestamp.isascii() and timestamp.isdecimal()) or len(timestamp) > 20:
        raise HttpRefusal(HTTPStatus.BAD_REQUEST, "Ehash-Timestamp is not a number of seconds", code=20008)
    return ShareClaim(as_point(key, "Ehash-Key"), int(timestamp), as_bytes(signature, "Ehash-Signature", 64))
