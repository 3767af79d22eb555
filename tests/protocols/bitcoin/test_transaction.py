from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.encoding import ByteReader
from protocols.bitcoin.errors import EncodingError, TrailingError, TruncatedError
from protocols.bitcoin.hashing import display
from protocols.bitcoin.script import pay_to_public_key_hash, witness_program
from protocols.bitcoin.transaction import Transaction, TxIn, TxOut

SATOSHIS_COINBASE = (
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d01"
    "04455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f662073"
    "65636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe55482719"
    "67f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a"
    "4c702b6bf11d5fac00000000"
)

words = st.integers(0, 0xFFFFFFFF)
inputs = st.builds(TxIn, st.binary(min_size=32, max_size=32), words, st.binary(max_size=90), words)
outputs = st.builds(TxOut, st.integers(0, (1 << 64) - 1), st.binary(max_size=60))


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    spent = tuple(draw(st.lists(inputs, min_size=1, max_size=4)))
    stack = st.lists(st.binary(max_size=80), max_size=3).map(tuple)
    witnesses = tuple(draw(stack) for _ in spent)
    return Transaction(
        draw(words),
        spent,
        tuple(draw(st.lists(outputs, max_size=3))),
        witnesses if any(witnesses) else (),
        draw(words),
    )


def recorded_transactions(conversation: Any) -> list[bytes]:
    """The transactions of the answer to RequestTransactionData that a template provider gave."""
    answer = bytes.fromhex(conversation["frames"][3]["plain"])
    reader = ByteReader(answer, 6 + 8)
    reader.read(reader.u16())
    return [reader.read(reader.uint(3)) for _ in range(reader.u16())]


def test_the_first_transaction_is_read() -> None:
    coinbase = Transaction.parse(bytes.fromhex(SATOSHIS_COINBASE))
    assert display(coinbase.txid) == "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
    assert coinbase.wtxid == coinbase.txid
    assert coinbase.is_coinbase
    assert coinbase.outputs[0].value == 5_000_000_000
    assert coinbase.weight == 4 * 204
    # One in the output, and one in what happens to be text of the input.
    assert coinbase.legacy_sigops == 1


def test_recorded_segwit_transactions_weigh_what_bip141_says(vectors: Callable[[str], Any]) -> None:
    found = recorded_transactions(vectors("tdp_conversation_sv2tp.json"))
    assert len(found) == 5
    for raw in found:
        transaction = Transaction.parse(raw)
        assert transaction.serialize() == raw
        assert transaction.wtxid != transaction.txid
        assert not transaction.is_coinbase
        assert transaction.weight == 3 * len(transaction.stripped) + len(raw)
        assert transaction.legacy_sigops == 0


@settings(max_examples=60, deadline=None)
@given(transactions())
def test_every_transaction_comes_back(transaction: Transaction) -> None:
    again = Transaction.parse(transaction.serialize())
    assert again == transaction
    assert again.txid == transaction.txid
    assert Transaction.parse(transaction.stripped).witnesses == ()


def test_an_independent_library_finds_the_same_ids(
    oracle: Callable[[str], ModuleType], vectors: Callable[[str], Any]
) -> None:
    library = oracle("transactions").Transaction
    for raw in recorded_transactions(vectors("tdp_conversation_sv2tp.json")):
        ours, theirs = Transaction.parse(raw), library.parse(raw, network="regtest")
        assert theirs.txid == display(ours.txid)
        assert [item.value for item in theirs.outputs] == [item.value for item in ours.outputs]
        assert [item.lock_script for item in theirs.outputs] == [item.script for item in ours.outputs]

    txids = st.binary(min_size=32, max_size=32).filter(any)
    payments = st.tuples(st.integers(0, 21 * 10**14), st.binary(min_size=20, max_size=20))

    @settings(max_examples=15, deadline=None)
    @given(st.lists(txids, min_size=1, max_size=3), st.lists(payments, min_size=1, max_size=3), words)
    def check(spent: list[bytes], paid: list[tuple[int, bytes]], locktime: int) -> None:
        ours = Transaction(
            2,
            tuple(TxIn(txid, index) for index, txid in enumerate(spent)),
            (
                TxOut(1, pay_to_public_key_hash(paid[0][1])),
                *(TxOut(value, witness_program(0, key)) for value, key in paid),
            ),
            locktime=locktime,
        )
        assert library.parse(ours.serialize()).txid == display(ours.txid)

    check()


WITNESS = bytes.fromhex(
    "01000000" + "0001" + "01" + "00" * 36 + "00" + "ffffffff" + "00" + "0101aa" + "00000000"
)


def test_a_transaction_with_witness_is_read() -> None:
    transaction = Transaction.parse(WITNESS)
    assert transaction.witnesses == ((b"\xaa",),)
    assert transaction.outputs == ()


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", TruncatedError),
        (WITNESS + b"\0", TrailingError),
        (WITNESS[:-1], TruncatedError),
        # No inputs and no flag, another flag, no inputs behind the flag, and a witness that holds nothing.
        (bytes.fromhex("01000000" + "00" + "00" + "00000000"), EncodingError),
        (WITNESS.replace(b"\x00\x01\x01", b"\x00\x02\x01", 1), EncodingError),
        (bytes.fromhex("01000000" + "0001" + "00" + "00" + "00000000"), EncodingError),
        (WITNESS.replace(b"\x01\x01\xaa", b"\x00"), EncodingError),
        # Counts that promise more than there is.
        (bytes.fromhex("01000000" + "fe00000010") + bytes(60), TruncatedError),
    ],
)
def test_bytes_that_are_no_transaction_are_refused(raw: bytes, error: type[EncodingError]) -> None:
    with pytest.raises(error):
        Transaction.parse(raw)


@given(st.binary(max_size=200), st.integers(0, len(WITNESS)), st.binary(max_size=3))
def test_any_bytes_are_a_transaction_or_refused(noise: bytes, cut: int, patch: bytes) -> None:
    for data in (noise, WITNESS[:cut] + patch + WITNESS[cut + len(patch) :]):
        try:
            assert Transaction.parse(data).serialize() == data
        except EncodingError:
            pass
