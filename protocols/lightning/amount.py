"""The readable part of an invoice: `ln`, the currency, and an amount in bitcoin with a multiplier (BOLT 11).

Amounts here are millisatoshis; a bitcoin has 10^11 of them.
"""

import re

from protocols.lightning.errors import InvoiceError

CURRENCIES = ("bcrt", "bc", "tbs", "tb")
"""Regtest, the main network, signet, and testnet."""
AMOUNT_LIMIT = 1 << 63

_BITCOIN = 10**11
_MULTIPLIERS = {"": _BITCOIN, "m": 10**8, "u": 10**5, "n": 10**2}
_PICO_PER_MSAT = 10
_FORM = re.compile(rf"ln({'|'.join(CURRENCIES)})(?:([1-9][0-9]{{0,19}})([munp]?))?")


def encode_prefix(currency: str, amount_msat: int | None) -> str:
    """The readable part, the amount as short as it can be, or none; raises InvoiceError."""
    if currency not in CURRENCIES:
        raise InvoiceError(f"there is no currency {currency[:8]!r}")
    if amount_msat is None:
        return f"ln{currency}"
    if not 0 < amount_msat < AMOUNT_LIMIT:
        raise InvoiceError("an amount is a positive number of millisatoshis below 2^63")
    for letter, size in _MULTIPLIERS.items():
        if amount_msat % size == 0:
            return f"ln{currency}{amount_msat // size}{letter}"
    return f"ln{currency}{amount_msat * _PICO_PER_MSAT}p"


def decode_prefix(text: str) -> tuple[str, int | None]:
    """Currency and millisatoshis (None where the payer chooses) of a readable part; raises InvoiceError."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvoiceError("the prefix of an invoice is ln, a known currency, and an amount or none")
    currency, digits, letter = found.groups()
    if digits is None:
        return currency, None
    number = int(digits)
    if letter != "p":
        amount = number * _MULTIPLIERS[letter]
    elif number % _PICO_PER_MSAT:
        raise InvoiceError("the amount is not a whole number of millisatoshis")
    else:
        amount = number // _PICO_PER_MSAT
    if amount >= AMOUNT_LIMIT:
        raise InvoiceError("the amount is out of range")
    return currency, amount
