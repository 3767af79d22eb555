"""Swaps before they are sent: outputs at new counters, and the request with what it spends (NUT-03)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from protocols.cashu.keyset import Keyset
from protocols.cashu.models import Proof
from roles.runtime.storage import Connection
from roles.wallet import exchange, purse, request
from roles.wallet.exchange import Exchange, Order, Wanted
from roles.wallet.keyring import Output
from roles.wallet.kit import Kit
from roles.wallet.mint_client import SWAP_PATH
from roles.wallet.purse import Coin


def open_outputs(kit: Kit, keyset_id: str, wanted: Sequence[Wanted]) -> list[Output]:
    """Outputs with what opens their signatures."""
    outputs = []
    for each in wanted:
        if each.drawn is not None:
            outputs.append(Output.drawn(keyset_id, each.drawn, each.amount))
        elif each.counter is not None:
            outputs.append(kit.keyring.output(keyset_id, each.counter, each.amount))
        else:
            raise ValueError("an output has neither a counter nor a secret")
    return outputs


def place(
    connection: Connection, keyset: Keyset, ours: Sequence[int], given: Sequence[Wanted] = ()
) -> tuple[Wanted, ...]:
    """Outputs of our own and those for somebody else, in the order of their amounts, so that the order does
    not tell which is which; those without a drawn secret get new counters.
    """
    wanted = sorted([*map(Wanted, ours), *given], key=lambda each: each.amount)
    counters = sum(each.drawn is None for each in wanted)
    counter = request.reserve(connection, keyset.keyset_id, counters) if counters else 0
    placed = []
    for each in wanted:
        placed.append(replace(each, counter=counter) if each.drawn is None else each)
        counter += each.drawn is None
    return tuple(placed)


def place_blanks(connection: Connection, keyset: Keyset, count: int) -> tuple[Wanted, ...]:
    """Outputs at new counters whose amounts the mint chooses (NUT-08)."""
    first = request.reserve(connection, keyset.keyset_id, count) if count else 0
    return tuple(Wanted(1, counter=first + offset, blank=True) for offset in range(count))


def body_of(inputs: Sequence[Proof], outputs: Sequence[Output]) -> bytes:
    """The request of NUT-03."""
    spent = [proof.as_input().to_json() for proof in inputs]
    return orjson.dumps({"inputs": spent, "outputs": [output.message.to_json() for output in outputs]})


def keep_swap(
    kit: Kit,
    connection: Connection,
    keyset: Keyset,
    chosen: Sequence[Coin],
    *,
    ours: Sequence[int],
    given: Sequence[Wanted] = (),
    fee: int,
    kind: exchange.Kind,
    plan: Mapping[str, Any],
) -> Exchange:
    """Store a swap of held tokens for new ones of these amounts, and hold the tokens for it."""
    wanted = place(connection, keyset, ours, given)
    ys = [coin.y for coin in chosen]
    proofs = [held.proof for held in purse.by_ys(connection, ys)]
    order = Order(
        kind=kind,
        unit=keyset.unit,
        keyset_id=keyset.keyset_id,
        fee=fee,
        outputs=wanted,
        plan=plan,
        path=SWAP_PATH,
        body=body_of(proofs, open_outputs(kit, keyset.keyset_id, wanted)),
    )
    kept = exchange.keep(connection, order, kit.clock_ms())
    purse.hold(connection, ys, kept.exchange_id)
    return kept


def fees_ppk(connection: Connection, unit: str) -> dict[str, int]:
    """The fee of each keyset of a unit, in thousandths an input."""
    rows = connection.execute("SELECT id, input_fee_ppk FROM keyset WHERE unit = ?", (unit,))
    return {row["id"]: row["input_fee_ppk"] for row in rows}
