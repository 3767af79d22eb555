"""Melting over HTTP: routes, and quotes as JSON."""

from aiohttp import web

from protocols.cashu.errors import QuoteUnknownError, UnitUnsupportedError
from roles.mint import operations
from roles.mint.melting.desk import MeltDesk
from roles.mint.request import QUOTE_ID_LIMIT
from roles.mint.views import PREFIXES
from roles.runtime.http import HttpServer, json_reply, read_json


class MeltApi:
    """The handlers of melting; without a desk every method is one that is not offered."""

    def __init__(self, desk: MeltDesk | None) -> None:
        self._desk = desk

    def add_routes(self, server: HttpServer) -> None:
        """Serve all routes."""
        for prefix in PREFIXES:
            server.route("POST", f"{prefix}/v1/melt/quote/{{method}}", self._post_quote, operations.QUOTE)
            path = f"{prefix}/v1/melt/quote/{{method}}/{{quote_id}}"
            server.route("GET", path, self._get_quote, operations.QUOTE)
            server.route("POST", f"{prefix}/v1/melt/{{method}}", self._post_melt, operations.MELT)

    async def _post_quote(self, request: web.Request) -> web.Response:
        desk = self._of(request)
        return json_reply((await desk.create(await read_json(request))).to_json())

    async def _get_quote(self, request: web.Request) -> web.Response:
        desk = self._of(request)
        quote_id = request.match_info["quote_id"]
        if len(quote_id) > QUOTE_ID_LIMIT:
            raise QuoteUnknownError("the melt quote is not known")
        return json_reply((await desk.quote(quote_id)).to_json())

    async def _post_melt(self, request: web.Request) -> web.Response:
        desk = self._of(request)
        wishes = ",".join(request.headers.getall("Prefer", ())).lower().split(",")
        respond_async = "respond-async" in {wish.partition(";")[0].strip() for wish in wishes}
        quote = await desk.melt(await read_json(request), respond_async=respond_async)
        return json_reply(quote.to_json())

    def _of(self, request: web.Request) -> MeltDesk:
        method = request.match_info["method"]
        if self._desk is None or method != self._desk.name:
            raise UnitUnsupportedError(f"nothing is paid by the method {method[:32]!r}")
        return self._desk
