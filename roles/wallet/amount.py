"""Amounts and units as people write them: strictly read, so that a typing error pays nothing."""

import re

from protocols.ehash.amount import AMOUNT_LIMIT
from protocols.ehash.errors import UnitError
from protocols.ehash.shift import parse_unit
from roles.wallet.errors import AmountError, RequestError

EHASH = "ehash"
"""All units of shifts together."""
SAT = "sat"
_WHOLE = re.compile(r"[1-9][0-9]{0,15}")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3}){1,5}")
_HINT = "a whole number above 0, such as 21 or 1,000"


def parse_amount(value: object) -> int:
    """An amount from text, or a whole number from JSON; raises AmountError."""
    if isinstance(value, str):
        text = value.strip()
        if not _WHOLE.fullmatch(text) and not _GROUPED.fullmatch(text):
            raise AmountError(f"{value[:30]!a} is no amount", hint=_HINT)
        value = int(text.replace(",", ""))
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise AmountError("an amount is missing, or is none", hint=_HINT)
    if value >= AMOUNT_LIMIT:
        raise AmountError(f"an amount is below {AMOUNT_LIMIT:,}")
    return value


def parse_unit_name(value: object) -> str:
    """`ehash` for all its units, or the name of one; raises RequestError."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", value):
        raise RequestError("a unit is a word", hint="sat, ehash, or a unit that hashpool wallet list names")
    return value.lower()


def age(unit: str) -> tuple[str, int]:
    """By which units of shifts are ordered, the oldest of each issuer first."""
    try:
        parsed = parse_unit(unit)
    except UnitError:
        return unit, 0
    return parsed.issuer.hex(), parsed.shift
