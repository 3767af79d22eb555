from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.encoding import ByteReader
from protocols.bitcoin.errors import EncodingError
from protocols.bitcoin.hashing import from_display, sha256d
from protocols.bitcoin.merkle import (
    commitment_script,
    merkle_path,
    merkle_root,
    root_from_path,
    witness_commitment,
)
from protocols.bitcoin.transaction import Transaction

hashes = st.binary(min_size=32, max_size=32)


def test_the_root_over_a_known_block_is_found() -> None:
    # Block 100,000 of the main chain, four transactions.
    leaves = [
        from_display(text)
        for text in (
            "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
        )
    ]
    root = from_display("f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766")
    assert merkle_root(leaves) == root
    assert root_from_path(leaves[0], merkle_path(leaves[1:])) == root


def test_an_odd_level_repeats_its_last_hash() -> None:
    a, b, c = (bytes((value,)) * 32 for value in (1, 2, 3))
    assert merkle_root([a, b, c]) == sha256d(sha256d(a + b) + sha256d(c + c))
    assert merkle_path([b, c]) == (b, sha256d(c + c))


def test_a_block_of_one_transaction_has_its_id_as_root_and_no_path() -> None:
    assert merkle_root([b"a" * 32]) == b"a" * 32
    assert merkle_path([]) == ()
    assert root_from_path(b"a" * 32, ()) == b"a" * 32


def test_a_tree_without_leaves_is_refused() -> None:
    with pytest.raises(EncodingError):
        merkle_root([])


@settings(max_examples=60, deadline=None)
@given(hashes, st.lists(hashes, max_size=40))
def test_the_path_of_the_coinbase_leads_to_the_root(coinbase: bytes, others: list[bytes]) -> None:
    assert root_from_path(coinbase, merkle_path(others)) == merkle_root([coinbase, *others])


def test_a_recorded_template_has_this_path_and_this_commitment(vectors: Callable[[str], Any]) -> None:
    frames = [bytes.fromhex(frame["plain"]) for frame in vectors("tdp_conversation_sv2tp.json")["frames"]]
    answer = ByteReader(frames[3], 6 + 8)
    answer.read(answer.u16())
    found = [Transaction.parse(answer.read(answer.uint(3))) for _ in range(answer.u16())]
    template = frames[1]
    assert template.endswith(b"\x03" + b"".join(merkle_path([each.txid for each in found])))
    assert commitment_script(witness_commitment([each.wtxid for each in found])) in template
    assert commitment_script(witness_commitment([])) in frames[5]
