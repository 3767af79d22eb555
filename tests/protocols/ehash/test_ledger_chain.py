import hashlib

from protocols.ehash.ledger_chain import BEGINNING, Link, extend


def test_the_chain_takes_place_hash_amount_and_key_of_every_row() -> None:
    first, second = Link(1, b"\x01" * 32, 5, b"\x02" * 33), Link(2, b"\x03" * 32, 0, b"\x04" * 33)
    value = extend(extend(BEGINNING, first), second)
    one = hashlib.sha256(
        bytes(32) + bytes(7) + b"\x01" + b"\x01" * 32 + bytes(7) + b"\x05" + b"\x02" * 33
    ).digest()
    two = hashlib.sha256(one + bytes(7) + b"\x02" + b"\x03" * 32 + bytes(8) + b"\x04" * 33).digest()
    assert value == two
