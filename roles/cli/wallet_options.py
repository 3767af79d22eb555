"""The arguments of `hashpool wallet`."""

import argparse
from datetime import UTC, datetime
from typing import Final

from roles.cli.checkout import STATE_HELP
from roles.runtime.arguments import Arguments

PURPOSES: Final = {
    "balance": "what is held, by unit",
    "list": "the keys with what each has earned, and the tokens by size; --sent: what was handed out",
    "history": "what came in and went out, newest first",
    "send": "make a token for somebody else: whoever has its text has the money",
    "request": "ask for tokens: a text that other wallets pay (creqA)",
    "receive": "take a token in: it is checked, and swapped at once for tokens that nobody else knows",
    "mint": "pay sats in: an invoice to be paid over Lightning, and the tokens for it",
    "melt": "pay sats out: the mint pays a Lightning invoice for tokens",
    "consolidate": "put many small tokens together, a few at a time and at random times",
    "backup": "show the seed words, which restore the wallet",
    "restore": "find every token and every quote again from the seed words, into an empty store",
    "key": "a key of your own, to mine with by somebody else's proxy or to have tokens locked to",
    "claim": "mint what your own keys have earned, by whatever proxy they mined",
}
_OF_PROXY: Final = (
    "balance",
    "list",
    "history",
    "send",
    "request",
    "receive",
    "mint",
    "melt",
    "consolidate",
    "backup",
    "restore",
)
_OF_MINT: Final = ("send", "request", "receive", "mint", "melt", "consolidate", "restore", "claim", "list")


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = Arguments(
        prog="hashpool wallet",
        description="A wallet of ehash, and of what else its mint has: the proxy's, or your own.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, purpose in PURPOSES.items():
        action = actions.add_parser(name, help=purpose, description=purpose)
        action.add_argument("--state", metavar="DIR", help=STATE_HELP)
        action.add_argument("--json", action="store_true", help="print one object on one line")
        if name in _OF_PROXY:
            action.add_argument("--own", action="store_true", help="your own wallet, not the proxy's")
        if name in _OF_MINT:
            action.add_argument(
                "--mint",
                metavar="URL",
                help="the mint; by default the wallet's own; of a new wallet config/shared/miner.toml's",
            )
    choices = actions.choices
    _add_look(choices["list"], choices["history"])
    _add_send(choices["send"])
    _add_request(choices["request"])
    _add_receive(choices["receive"])
    _add_lightning(choices["mint"], choices["melt"])
    _add_consolidate(choices["consolidate"])
    choices["restore"].add_argument(
        "--words", default="-", metavar="FILE", help="a file that holds the seed words; - or nothing: stdin"
    )
    choices["key"].add_argument(
        "name", nargs="?", default="miner", metavar="NAME", help="another name has another key (miner)"
    )
    for name in ("key", "claim", "receive"):
        choices[name].add_argument(
            "--secret", metavar="FILE", help="a file that holds a private key, none of the wallet's; -: stdin"
        )
    return parser.parse_args(argv)


def _add_look(tokens: argparse.ArgumentParser, history: argparse.ArgumentParser) -> None:
    for action in (tokens, history):
        action.add_argument("--limit", type=_count, default=50, metavar="N", help="so many (50)")
    tokens.add_argument(
        "--sent", action="store_true", help="tokens that were handed out, and whether somebody took them"
    )
    history.add_argument("--before", type=_count, metavar="NUMBER", help="older than this event")
    history.add_argument("--unit", metavar="UNIT", help="of this unit alone")


def _add_request(request: argparse.ArgumentParser) -> None:
    request.add_argument("amount", nargs="?", metavar="AMOUNT", help="by default whoever pays chooses it")
    request.add_argument(
        "--unit", default="sat", metavar="UNIT", help="sat, ehash (the newest shift) or a unit"
    )
    request.add_argument("--memo", metavar="TEXT", help="a line that says what for")
    request.add_argument("--lock", metavar="NAME", help="lock it to the wallet's key of this name")
    request.add_argument("--qr", action="store_true", help="show the request as a QR code")


def _add_receive(receive: argparse.ArgumentParser) -> None:
    receive.add_argument(
        "token",
        nargs="?",
        default="-",
        metavar="TOKEN",
        help="its text, or a file; - or nothing: stdin",
    )
    receive.add_argument("--preimage", metavar="HEX", help="what opens a token that is locked to a hash")


def _add_lightning(mint: argparse.ArgumentParser, melt: argparse.ArgumentParser) -> None:
    mint.add_argument(
        "amount", nargs="?", metavar="AMOUNT", help="sats; without: the tokens of invoices that were paid"
    )
    mint.add_argument("--memo", metavar="TEXT", help="a line that the invoice shows to whoever pays")
    mint.add_argument("--qr", action="store_true", help="show the invoice as a QR code")
    mint.add_argument(
        "--no-wait",
        action="store_true",
        help="do not wait for the payment; later commands see to it",
    )
    melt.add_argument("invoice", metavar="INVOICE", help="what a Lightning wallet shows: lnbc…")
    melt.add_argument("--max-fee", type=_number, metavar="SATS", help="most to be set aside for the way")
    melt.add_argument("--yes", action="store_true", help="do not ask before it is paid")


def _add_consolidate(consolidate: argparse.ArgumentParser) -> None:
    consolidate.add_argument("--unit", metavar="UNIT", help="of this unit alone")
    consolidate.add_argument(
        "--inputs", type=_count, default=50, metavar="N", help="most tokens of one request (50)"
    )
    consolidate.add_argument(
        "--pause", type=float, default=3.0, metavar="S", help="seconds between requests, on average (3)"
    )


def _add_send(send: argparse.ArgumentParser) -> None:
    send.add_argument("amount", nargs="?", metavar="AMOUNT", help="a whole number, such as 21 or 1,000")
    send.add_argument(
        "--request", metavar="CREQ", help="pay this request: amount, unit and lock are what it asks for"
    )
    send.add_argument(
        "--unit", default="ehash", metavar="UNIT", help="ehash (of any shift, oldest first), sat, or one unit"
    )
    send.add_argument("--memo", metavar="TEXT", help="a line that goes with it, for everybody to read")
    send.add_argument(
        "--to",
        action="append",
        metavar="KEY",
        help="only the holder of this key can take it; several: any of them",
    )
    send.add_argument("--signatures", type=_count, metavar="N", help="how many of the keys it takes (1)")
    send.add_argument(
        "--locktime",
        type=_moment,
        metavar="WHEN",
        help="until then; Unix seconds or a date such as 2030-12-31",
    )
    send.add_argument(
        "--refund", action="append", metavar="KEY", help="who can take it after that; else anybody"
    )
    send.add_argument(
        "--hash",
        metavar="HEX",
        help="it takes the preimage of this SHA-256 (an HTLC), beside a key if there is one",
    )
    send.add_argument("--blinded", action="store_true", help="keep the keys from the mint (NUT-28)")
    send.add_argument("--qr", action="store_true", help="show the token as a QR code")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError("a whole number above 0")
    return int(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 53):
        raise argparse.ArgumentTypeError("a whole number")
    return int(text)


def _moment(text: str) -> int:
    """Unix seconds of a number or a date, whose day is the first without."""
    if text.isascii() and text.isdecimal() and len(text) < 12:
        return int(text)
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise argparse.ArgumentTypeError("neither Unix seconds nor a date such as 2030-12-31") from error
