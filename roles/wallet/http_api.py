"""The wallet over HTTP, for programs of this machine.

Loopback belongs to every user of a machine, and a web page can reach it through its visitor's browser. So
each request must carry the secret of `api.token` in the state directory (but for the faucet and the
description), must be asked of a name that is known (a page whose name has been turned to 127.0.0.1 has
another one), must not come from a page at all, and a body must be JSON by its type.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ValidationError

from roles.runtime.errors import HttpRefusal
from roles.runtime.http import HttpBounds, HttpServer, json_reply
from roles.runtime.http_pace import Pace
from roles.runtime.secret import SecretFile
from roles.runtime.storage import Connection
from roles.wallet import history, http_description, purse
from roles.wallet.desk import Desk, balance
from roles.wallet.errors import MintError, MintWaitsError, WalletError
from roles.wallet.faucet import Faucet
from roles.wallet.http_forms import ReceiveForm, TokenForm
from roles.wallet.wallet import Wallet
from shared_config.address import Address
from shared_config.wallet_api import WalletApiSettings

KEY_FILE: Final = "api.token"
_SECRET_SIZE: Final = 32
_BODY: Final = 5 << 20
_PAGE: Final = 1_000
_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

Act = Callable[[web.Request], Awaitable[dict[str, Any]]]


class WalletApi:
    """Serves one wallet; its secret is made on first start. `prefix` is that of its metrics' names."""

    def __init__(
        self,
        wallet: Wallet,
        settings: WalletApiSettings,
        state: Path,
        registry: CollectorRegistry,
        *,
        prefix: str = "hashpool_proxy",
    ) -> None:
        self._wallet = wallet
        self._desk = Desk(wallet)
        self._hosts = _NAMES | {host.lower() for host in settings.hosts}
        secret = SecretFile(state / KEY_FILE)
        self._secret = secret.load_or_create_bytes(
            _SECRET_SIZE, lambda: secrets.token_bytes(_SECRET_SIZE)
        ).hex()
        self._faucet = Faucet(wallet, settings.faucet, registry, prefix=prefix)
        bounds = HttpBounds(
            connections=100,
            body_bytes=_BODY,
            request_s=settings.request_s,
            pace=Pace(settings.requests_per_s, settings.requests_at_once),
            trusted_proxies=settings.trusted_proxies,
        )
        self._server = HttpServer(bounds, registry, translate=_refusal)
        for method, path, act in (
            ("GET", "/v1/balance", self._balance),
            ("GET", "/v1/history", self._history),
            ("GET", "/v1/tokens", self._tokens),
            ("POST", "/v1/tokens", self._send),
            ("POST", "/v1/receive", self._receive),
        ):
            self._server.route(method, path, self._guarded(act))
        self._server.route("POST", "/v1/faucet", self._give)
        self._server.route("GET", "/v1/openapi.json", self._describe)

    async def start(self, address: Address) -> Address:
        """Listen; raises PortInUse or ListenFailed."""
        return await self._server.start(address, "wallet_api.address")

    async def close(self) -> None:
        """Stop listening, let requests finish."""
        await self._server.close()

    def _guarded(self, act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            self._check_origin(request)
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._secret}".encode()):
                raise HttpRefusal(
                    401, "the secret is missing or wrong", headers={"WWW-Authenticate": "Bearer"}
                )
            return json_reply(await act(request))

        return answer

    def _check_origin(self, request: web.Request) -> None:
        """Raises HttpRefusal for what a web page may have sent."""
        host = request.headers.get("Host", "").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in self._hosts:
            raise HttpRefusal(421, "this is not asked by that name")
        if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
            raise HttpRefusal(403, "web pages may not ask here")
        if request.method == "POST" and request.content_type != "application/json":
            raise HttpRefusal(415, "a body is application/json")

    async def _balance(self, _: web.Request) -> dict[str, Any]:
        return await self._wallet.kit.database.read(_held)

    async def _history(self, request: web.Request) -> dict[str, Any]:
        limit, before = _number(request, "limit", 100), _number(request, "before", None)
        events = await self._wallet.kit.database.read(
            lambda c: history.events(c, min(limit or 1, _PAGE), before=before, unit=request.query.get("unit"))
        )
        return {"events": [asdict(event) for event in events]}

    async def _tokens(self, request: web.Request) -> dict[str, Any]:
        return await self._desk.do(
            {"order": "sent", "limit": min(_number(request, "limit", 100) or 1, _PAGE)}
        )

    async def _send(self, request: web.Request) -> dict[str, Any]:
        return await self._desk.do({"order": "send", **await _body(request, TokenForm)})

    async def _receive(self, request: web.Request) -> dict[str, Any]:
        return await self._desk.do({"order": "receive", **await _body(request, ReceiveForm)})

    async def _give(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request)
        amount, token = await self._faucet.give(self._server.client(request))
        return json_reply({"amount": amount, "token": token})

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request)
        return json_reply(http_description.describe())


def _make_secret() -> bytes:
    return secrets.token_bytes(_SECRET_SIZE)


def _held(connection: Connection) -> dict[str, Any]:
    return {
        "balance": balance(connection),
        "units": [asdict(item) for item in purse.balances(connection)],
    }


async def _body(request: web.Request, form: type[BaseModel]) -> dict[str, Any]:
    try:
        read = form.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise HttpRefusal(400, f"{where}: {first['msg'].lower()}") from None
    except web.HTTPRequestEntityTooLarge as error:
        raise HttpRefusal(413, "the body is too large") from error
    return read.model_dump(exclude_none=True)


def _number(request: web.Request, name: str, default: int | None) -> int | None:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise HttpRefusal(400, f"{name} is a whole number")
    return int(text)


def _refusal(error: Exception) -> HttpRefusal | None:
    if not isinstance(error, WalletError):
        return None
    waits = isinstance(error, MintError | MintWaitsError)
    return HttpRefusal(503 if waits else 400, str(error), headers={"Retry-After": "5"} if waits else None)
