"""What wallets can listen to on websockets, and where its states are read."""

from collections.abc import Sequence
from functools import partial

from protocols.cashu.subscription import PROOF_STATE, mint_quote_kind
from roles.mint.notice_board import NoticeBoard, State
from roles.mint.teller import Teller


def offer_all(board: NoticeBoard, teller: Teller) -> None:
    """Let proofs, by Y in hex, and quotes, by id, be listened to. A quote may be listened to before there is
    one: the id of a share's quote is known to its owner first.
    """

    async def proofs(names: Sequence[str]) -> dict[str, State]:
        states = await teller.proof_states([bytes.fromhex(name) for name in names])
        return {state.point.hex(): state.to_json() for state in states}

    for method in teller.methods:
        board.offer(mint_quote_kind(method), partial(_quotes, teller, method))
    board.offer(PROOF_STATE, proofs)


async def _quotes(teller: Teller, method: str, names: Sequence[str]) -> dict[str, State]:
    return {quote.quote_id: quote.to_json() for quote in await teller.known_quotes(names, method)}
