"""What wallets hear of payments: mint quotes, melt quotes, and the proofs that pay."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from protocols.cashu.curve import secret_point
from protocols.cashu.subscription import PROOF_STATE, melt_quote_kind
from roles.mint.listening import offer_all
from roles.mint.notice_board import State, Subject
from tests.roles.mint.lightning.bank import Bank, foreign_invoice

KIND = melt_quote_kind("bolt11")


class Ear:
    """Remembers the states that it heard of each subject."""

    def __init__(self) -> None:
        self.heard: dict[Subject, list[object]] = {}

    def hear(self, subject: Subject, state: State) -> None:
        states = self.heard.setdefault(subject, [])
        if states[-1:] != [state["state"]]:
            states.append(state["state"])


@pytest.fixture
async def ear(bank: Bank) -> AsyncIterator[Ear]:
    board = bank.house.board
    offer_all(board, bank.teller)
    board.offer(KIND, bank.desk.states)
    telling = asyncio.create_task(board.run())
    yield Ear()
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("words", "fate", "left"),
    [("fake: pending 5", "PAID", "SPENT"), ("fake: pending 5 failed", "UNPAID", "UNSPENT")],
)
async def test_a_payment_is_told_as_pending_and_then_as_what_became_of_it(
    bank: Bank, ear: Ear, words: str, fate: str, left: str
) -> None:
    quote = await bank.melt_quote(foreign_invoice(8_000, words))
    proofs = await bank.tokens(8, 2)
    melt = Subject(KIND, quote.quote_id)
    inputs = [Subject(PROOF_STATE, secret_point(proof.secret).hex()) for proof in proofs]
    bank.house.board.listen([melt, *inputs], ear)
    await _until(lambda: ear.heard.get(melt) == ["UNPAID"])
    await bank.desk.melt(bank.melt(quote, proofs), respond_async=True)
    await _until(lambda: ear.heard[melt] == ["UNPAID", "PENDING"])
    bank.house.clock.now += 6
    await _until(lambda: ear.heard[melt] == ["UNPAID", "PENDING", fate])
    await _until(lambda: all(ear.heard[each] == ["UNSPENT", "PENDING", left] for each in inputs))
