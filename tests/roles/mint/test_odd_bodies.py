"""No body makes the mint fail: valid requests to each route, damaged by hypothesis, to the real API."""

import asyncio
import copy
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import lookup
from protocols.cashu.curve import secret_point
from protocols.cashu.lock import Lock
from protocols.cashu.models import BlindedMessage
from protocols.cashu.unlocking import Keyring, unlock
from tests.roles.mint.house import MINER, NOW
from tests.roles.mint.lightning.bank import foreign_invoice
from tests.roles.mint.shop import Shop, open_shop

EXAMPLES: Final = 1_000 if os.environ.get("HASHPOOL_TEST_LONG") else 100
OWNER: Final = b"\x71" * 32

T = TypeVar("T")
Body = dict[str, Any]
Make = Callable[[Shop], Coroutine[Any, Any, Body]]


def _outputs(outputs: list[BlindedMessage]) -> list[dict[str, object]]:
    return [output.to_json() for output in outputs]


async def _swap(shop: Shop) -> Body:
    return shop.house.swap(await shop.house.tokens(1, 2))


async def _locked_swap(shop: Shop) -> Body:
    """Inputs with every kind of condition, unlocked."""
    key = public_key(OWNER)
    locks = (
        Lock((key,)),
        Lock((key,), locktime=NOW - 1, refund=(public_key(MINER),)),
        Lock((key,), preimage_hash=secret_point("x")[1:], locktime=NOW - 1),
    )
    secrets = [lock.secret(bytes((number,)) * 32) for number, lock in enumerate(locks)]
    proofs = await shop.house.tokens(1, 1, 1, secrets=secrets)
    return shop.house.swap(unlock(proofs, Keyring((OWNER, MINER)), now=NOW, aux=bytes(32)))


async def _mint(shop: Shop) -> Body:
    (quote,) = await shop.house.credit(3)
    return shop.house.claim(quote, shop.house.basket(1, 2))


async def _batch(shop: Shop) -> Body:
    return shop.house.batch(await shop.house.credit(1, 2), shop.house.basket(1, 2))


async def _mint_sats(shop: Shop) -> Body:
    return shop.bank.claim(await shop.bank.paid(3), shop.bank.basket(1, 2))


async def _ask_sats(shop: Shop) -> Body:
    return {"amount": 5, "unit": "sat", "description": "beans", "pubkey": public_key(OWNER).hex()}


async def _ask_to_pay(shop: Shop) -> Body:
    options = {"amountless": {"amount_msat": 8_000}}
    invoice = foreign_invoice(8_000, number=next(shop.bank.counter))
    return {"request": invoice, "unit": "sat", "options": options}


async def _melt(shop: Shop) -> Body:
    quote = await shop.bank.melt_quote(foreign_invoice(8_000, number=next(shop.bank.counter)))
    return shop.bank.melt(quote, await shop.bank.tokens(8, 2), shop.bank.basket(1, 1))


async def _check_quotes(shop: Shop) -> Body:
    return {"quotes": [quote.quote_id for quote in await shop.house.credit(1, 1)]}


async def _look_up(shop: Shop) -> Body:
    signature = lookup.sign(MINER, shop.house.seed.info_key, public_key(MINER), NOW, bytes(32))
    return {
        "pubkeys": [public_key(MINER).hex()],
        "pubkey_signatures": [signature.hex()],
        "timestamp": NOW,
        "limit": 5,
        "only_mintable": True,
    }


async def _check_states(shop: Shop) -> Body:
    return {"Ys": [secret_point(proof.secret).hex() for proof in await shop.house.tokens(1, 2)]}


async def _restore(shop: Shop) -> Body:
    return {"outputs": _outputs(shop.house.basket(1, 2).outputs)}


ROUTES: Final[list[tuple[str, Make]]] = [
    ("/v1/swap", _swap),
    ("/v1/swap", _locked_swap),
    ("/v1/mint/ehash", _mint),
    ("/v1/mint/ehash/batch", _batch),
    ("/v1/mint/bolt11", _mint_sats),
    ("/v1/mint/quote/bolt11", _ask_sats),
    ("/v1/mint/quote/ehash", _ask_sats),
    ("/v1/melt/quote/bolt11", _ask_to_pay),
    ("/v1/melt/bolt11", _melt),
    ("/v1/mint/quote/ehash/check", _check_quotes),
    ("/v1/mint/quote/ehash/pubkey", _look_up),
    ("/v1/checkstate", _check_states),
    ("/v1/restore", _restore),
]
ODD: Final[list[object]] = [
    None, True, False, 0, 1, -1, 0.5, 1e300, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30,
    "", "0", "null", "é\u0130\uff11", "\0", "02" + "ff" * 32, "00" * 33, "ff" * 32, "00" * 64, "x" * 1025, "9"
    * 5000, [], {}, [[]], [None], {"": None}, [0] * 1001, {"signatures": []},
    '["P2PK",{"nonce":"n","data":"d"}]', '{"signatures":["' + "00" * 64 + '"]}',
]  # fmt: skip


def _places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be put in place of what is there."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, (*path, index))


@dataclass(frozen=True)
class Damage:
    """What is done to a body, said without knowing the body: fractions choose among what there is."""

    place: float
    kind: str
    odd: object
    at: float
    letter: str

    def to(self, body: object) -> object:
        """The body with one place changed."""
        path = _choose(list(_places(body)), self.place)
        if not path:
            return copy.deepcopy(self.odd)
        parent: Any = body
        for step in path[:-1]:
            parent = parent[step]
        key, old = path[-1], parent[path[-1]]
        if self.kind == "remove":
            del parent[key]
        elif self.kind == "repeat" and isinstance(parent, list):
            parent.append(copy.deepcopy(old))
        elif self.kind == "letter" and isinstance(old, str) and old:
            at = int(self.at * len(old))
            parent[key] = old[:at] + self.letter + old[at + 1 :]
        elif self.kind == "sibling" and isinstance(parent, dict):
            parent[key] = copy.deepcopy(parent[_choose(sorted(parent), self.at)])
        else:
            parent[key] = copy.deepcopy(self.odd)
        return body


fractions = st.floats(0, 1, exclude_max=True)
damages = st.lists(
    st.builds(
        Damage,
        fractions,
        st.sampled_from(["replace", "remove", "repeat", "letter", "sibling"]),
        st.sampled_from(ODD),
        fractions,
        st.sampled_from(["", "0", "f", "F", "z", '"', "\\", " "]),
    ),
    min_size=1,
    max_size=3,
)


def _choose(items: list[T], fraction: float) -> T:
    return items[int(fraction * len(items))]


class Visitor:
    """Keeps a shop open over all examples, and has a valid body that was not used yet."""

    def __init__(self, runner: asyncio.Runner, shop: Shop, path: str, make: Make) -> None:
        self._runner, self._shop, self._path, self._make = runner, shop, path, make
        self.body = runner.run(make(shop))

    def post(self, body: object) -> tuple[int, Any]:
        status, answer = self._runner.run(self._shop.post(self._path, json.dumps(body).encode()))
        if status == 200:
            self.body = self._runner.run(self._make(self._shop))
        return status, answer


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize(("path", "make"), ROUTES, ids=[f"{path}{make.__name__}" for path, make in ROUTES])
def test_a_damaged_body_is_refused_with_a_code_and_a_sentence(
    tmp_path: Path, runner: asyncio.Runner, path: str, make: Make
) -> None:
    opened = open_shop(tmp_path)
    shop = runner.run(opened.__aenter__())
    visitor = Visitor(runner, shop, path, make)
    if path != "/v1/mint/quote/ehash":
        assert visitor.post(visitor.body)[0] == 200

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(damages)
    def visit(chosen: list[Damage]) -> None:
        body: object = copy.deepcopy(visitor.body)
        for damage in chosen:
            body = damage.to(body)
        status, answer = visitor.post(body)
        assert status in {200, 400}
        if status == 400:
            assert set(answer) == {"code", "detail"}
            assert isinstance(answer["code"], int)
            assert answer["detail"]

    try:
        visit()
    finally:
        runner.run(opened.__aexit__(None, None, None))
