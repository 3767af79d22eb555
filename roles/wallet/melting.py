"""A melt on its way: sent once, then asked about until the mint knows what became of the payment (NUT-05)."""

from roles.wallet import exchange
from roles.wallet.errors import MintRefused, MintUnreachable
from roles.wallet.exchange import Exchange
from roles.wallet.kit import Kit
from roles.wallet.mint_api import MeltQuote
from roles.wallet.mint_client import BOLT11

FAILED = 20004


async def melt(kit: Kit, kept: Exchange) -> MeltQuote:
    """Send a melt unless it is under way, and give what became of it: PAID.

    Raises MintUnreachable while nobody knows, MintRefused (20004 among others) when it has failed.
    """
    quote_id = str(kept.plan["quote"])
    quote = await kit.mint.melt_quote(BOLT11, quote_id)
    if quote.state == "UNPAID" and not kept.plan.get("pending"):
        try:
            quote = await kit.mint.melt(kept.path, kept.body)
        except MintRefused:
            quote = await kit.mint.melt_quote(BOLT11, quote_id)
            if quote.state == "UNPAID":
                raise
    if quote.state == "PENDING":
        plan = {**kept.plan, "pending": True}
        await kit.database.write(lambda c: exchange.replan(c, kept.exchange_id, plan))
        raise MintUnreachable("the mint has not heard what became of the payment")
    if quote.state != "PAID":
        raise MintRefused(FAILED, "it has failed")
    return quote
