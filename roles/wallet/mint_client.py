"""HTTP to one mint: every call has a time-out, a bound on the answer, and may be repeated as it is."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import aiohttp
import orjson

from protocols.cashu.errors import CashuError
from protocols.cashu.fields import as_array, as_object
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import BlindedMessage, BlindSignature
from roles.runtime import crash
from roles.runtime.reason import why
from roles.wallet.errors import MintDishonest, MintRefused, MintUnreachable
from roles.wallet.mint_api import (
    METHOD,
    InvoiceQuote,
    KeysetHead,
    MeltQuote,
    MintInfo,
    QuoteState,
    read_page,
    read_shifts,
)

T = TypeVar("T")

ANSWER_LIMIT = 16 * 1024 * 1024
BATCH_PATH = f"/v1/mint/{METHOD}/batch"
SINGLE_PATH = f"/v1/mint/{METHOD}"
SWAP_PATH = "/v1/swap"
BOLT11 = "bolt11"
INVOICE_PATH = f"/v1/mint/{BOLT11}"
MELT_PATH = f"/v1/melt/{BOLT11}"
_EXCHANGES = {SWAP_PATH, INVOICE_PATH, MELT_PATH}
_MINTING = {BATCH_PATH, SINGLE_PATH}
_DETAIL_LIMIT = 200


class MintClient:
    """The API of the mint at `url`.

    Every call raises MintUnreachable (no answer: whether the mint acted is unknown), MintRefused (it did
    not act) or MintDishonest (it answered what it must not). After each failure of the first kind a call
    waits for the next of `waits` seconds and sends the same bytes again; with none left it raises.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        timeout: float = 10.0,
        waits: Sequence[float] = (0.3, 1.0),
    ) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(timeout, 5.0))
        self._waits = tuple(waits)

    async def info(self) -> MintInfo:
        """GET /v1/info."""
        return await self._call("GET", "/v1/info", None, MintInfo.from_json)

    async def keysets(self, view: str = "") -> list[KeysetHead]:
        """GET /v1/keysets of a view: its keysets without their keys."""

        def read(value: object) -> list[KeysetHead]:
            keysets = as_array(as_object(value, "keysets").get("keysets"), "keysets")
            return [KeysetHead.from_json(item) for item in keysets]

        return await self._call("GET", f"{view}/v1/keysets", None, read)

    async def shifts(self, after: str | None) -> tuple[list[KeysetHead], str | None]:
        """GET /v1/ehash/shifts: the keysets of a page of shifts, and the cursor to the next page."""
        path = "/v1/ehash/shifts" if after is None else f"/v1/ehash/shifts?after={after}"
        return await self._call("GET", path, None, read_shifts)

    async def keys(self, keyset_id: str) -> Keyset:
        """GET /v1/keys/{id}; the id is checked against the keys."""

        def read(value: object) -> Keyset:
            keysets = as_array(as_object(value, "keys").get("keysets"), "keysets")
            matching = [keyset for keyset in map(Keyset.from_json, keysets) if keyset.keyset_id == keyset_id]
            if not matching:
                raise MintDishonest(f"the mint answered other keysets than {keyset_id}")
            return matching[0]

        return await self._call("GET", f"/v1/keys/{keyset_id}", None, read)

    async def quote(self, quote_id: str) -> QuoteState:
        """GET one quote."""
        return await self._call("GET", f"/v1/mint/quote/{METHOD}/{quote_id}", None, QuoteState.from_json)

    async def check_quotes(self, quote_ids: Sequence[str]) -> list[QuoteState]:
        """NUT-29 check, in the order of the request; one unknown id refuses all."""

        def read(value: object) -> list[QuoteState]:
            states = [QuoteState.from_json(item) for item in as_array(value, "quotes")]
            if [state.quote_id for state in states] != list(quote_ids):
                raise MintDishonest("the mint answered other quotes than it was asked for")
            return states

        body = orjson.dumps({"quotes": list(quote_ids)})
        return await self._call("POST", f"/v1/mint/quote/{METHOD}/check", body, read)

    async def mint(self, path: str, body: bytes) -> list[BlindSignature]:
        """POST a mint request, single or batch, or a swap, exactly as it stands."""
        return await self._call("POST", path, body, _signatures)

    async def create_quote(self, method: str, body: bytes) -> InvoiceQuote:
        """NUT-04: a new mint quote; a second sending makes a second one."""
        return await self._call("POST", f"/v1/mint/quote/{method}", body, InvoiceQuote.from_json)

    async def invoice_quote(self, method: str, quote_id: str) -> InvoiceQuote:
        """GET one mint quote that is paid by an invoice."""
        path = f"/v1/mint/quote/{method}/{quote_id}"
        return await self._call("GET", path, None, InvoiceQuote.from_json)

    async def create_melt_quote(self, method: str, body: bytes) -> MeltQuote:
        """NUT-05: what a payment will cost."""
        return await self._call("POST", f"/v1/melt/quote/{method}", body, MeltQuote.from_json)

    async def melt_quote(self, method: str, quote_id: str) -> MeltQuote:
        """GET one melt quote, with the change of one that is paid."""
        return await self._call("GET", f"/v1/melt/quote/{method}/{quote_id}", None, MeltQuote.from_json)

    async def melt(self, path: str, body: bytes) -> MeltQuote:
        """POST a melt exactly as it stands."""
        return await self._call("POST", path, body, MeltQuote.from_json)

    async def restore(self, outputs: Sequence[BlindedMessage]) -> list[tuple[BlindedMessage, BlindSignature]]:
        """NUT-09: those of the outputs that the mint has signed, with the signatures."""

        def read(value: object) -> list[tuple[BlindedMessage, BlindSignature]]:
            body = as_object(value, "restore")
            echoed = [BlindedMessage.from_json(item) for item in as_array(body.get("outputs"), "outputs")]
            signatures = _signatures(value)
            if len(echoed) != len(signatures):
                raise MintDishonest("the mint restored more outputs than signatures, or fewer")
            return list(zip(echoed, signatures, strict=True))

        request = orjson.dumps({"outputs": [output.to_json() for output in outputs]})
        return await self._call("POST", "/v1/restore", request, read)

    async def check_state(self, ys: Sequence[bytes]) -> list[str]:
        """NUT-07: UNSPENT, PENDING or SPENT of each Y, in the order of the request."""

        def read(value: object) -> list[str]:
            states = as_array(as_object(value, "states").get("states"), "states")
            found = {str(item.get("Y")): str(item.get("state")) for item in map(_object, states)}
            if any(y.hex() not in found for y in ys):
                raise MintDishonest("the mint left out the state of a token")
            return [found[y.hex()] for y in ys]

        body = orjson.dumps({"Ys": [y.hex() for y in ys]})
        return await self._call("POST", "/v1/checkstate", body, read)

    async def look_up(
        self,
        signed_keys: Sequence[tuple[bytes, bytes]],
        timestamp: int,
        *,
        only_mintable: bool,
        limit: int,
        cursor: str | None,
        method: str = METHOD,
    ) -> tuple[list[QuoteState], str | None]:
        """NUT-XX: one page of a method's quotes that are locked to these keys, each with its signature."""
        request: dict[str, object] = {
            "pubkeys": [key.hex() for key, _ in signed_keys],
            "pubkey_signatures": [signature.hex() for _, signature in signed_keys],
            "timestamp": timestamp,
            "limit": limit,
            "only_mintable": only_mintable,
        }
        if cursor is not None:
            request["cursor"] = cursor
        body = orjson.dumps(request)
        return await self._call("POST", f"/v1/mint/quote/{method}/pubkey", body, read_page)

    async def _call(self, method: str, path: str, body: bytes | None, read: Callable[[object], T]) -> T:
        for wait in self._waits:
            try:
                return await self._call_once(method, path, body, read)
            except MintUnreachable as error:
                await asyncio.sleep(max(wait, min(error.retry_after or 0.0, 5.0)))
        return await self._call_once(method, path, body, read)

    async def _call_once(self, method: str, path: str, body: bytes | None, read: Callable[[object], T]) -> T:
        status, retry_after, answer = await self._exchange(method, path, body)
        if method == "GET" and "/quote/" in path:
            # The id of a quote is nobody's business, and errors are logged.
            path = path.rpartition("/")[0]
        if status == 429 or status >= 500:
            raise MintUnreachable(f"the mint answered {path} with HTTP {status}", retry_after=retry_after)
        try:
            value = orjson.loads(answer)
        except orjson.JSONDecodeError:
            if status == 200:
                raise MintUnreachable(f"the mint's answer to {path} is not JSON") from None
            value = {}
        if status != 200:
            raise _refusal(status, value)
        try:
            return read(value)
        except CashuError as error:
            raise MintDishonest(f"the mint's answer to {path} cannot be read: {error.detail}") from error

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, float | None, bytes]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method,
                self.url + path,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                if path in _MINTING:
                    crash.at("wallet.request-sent")
                elif path in _EXCHANGES:
                    crash.at("wallet.exchange-sent")
                answer = bytearray()
                async for chunk in response.content.iter_chunked(65536):
                    answer += chunk
                    if len(answer) > ANSWER_LIMIT:
                        raise MintDishonest(f"the mint's answer to {path} is above {ANSWER_LIMIT} bytes")
                return response.status, _seconds(response.headers.get("Retry-After")), bytes(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MintUnreachable(f"the mint at {self.url} does not answer: {why(error)}") from error


def open_session() -> aiohttp.ClientSession:
    """A session for one mint: few connections, no cookies, nothing from the environment."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=4),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


def _signatures(value: object) -> list[BlindSignature]:
    items = as_array(as_object(value, "answer").get("signatures"), "signatures")
    return [BlindSignature.from_json(item) for item in items]


def _object(value: object) -> Any:
    return as_object(value, "state")


def _refusal(status: int, value: object) -> MintRefused:
    body = value if isinstance(value, dict) else {}
    detail = str(body.get("detail") or f"HTTP {status}")[:_DETAIL_LIMIT]
    code = body.get("code")
    if not isinstance(code, int):
        code = 0
    return MintRefused(code, "".join(letter if letter.isprintable() else " " for letter in detail))


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() and len(text) < 6 else None
