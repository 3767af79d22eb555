from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin import coinbase
from protocols.bitcoin.coinbase import CoinbaseTemplate, add_witness, coinbase_parts, strip_witness
from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.hashing import display, sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.merkle import root_from_path
from protocols.bitcoin.target import from_bits, meets
from protocols.bitcoin.transaction import Transaction, TxOut

TAG = b"Sv2///"


def reference(vectors: Any, case: Any, extranonce_size: int) -> tuple[bytes, bytes]:
    common = vectors["common_template"]
    template = CoinbaseTemplate(
        common["coinbase_tx_version"],
        bytes.fromhex(case["template"]["coinbase_prefix"]),
        case["template"]["coinbase_tx_input_sequence"],
        common["coinbase_tx_value_remaining"],
        common["template_outputs_count"],
        bytes.fromhex(common["template_outputs"]),
        case["template"]["coinbase_tx_locktime"],
    )
    reward = TxOut(template.value, bytes.fromhex(common["reward_script"]))
    tag = bytes.fromhex(common["script_sig_tag"])
    return coinbase_parts(template, [reward], tag=tag, extranonce_size=extranonce_size)


def test_both_parts_are_those_of_the_reference_implementation(vectors: Callable[[str], Any]) -> None:
    data = vectors("sri_jobs_shares.json")
    cases = [each for each in data["vectors"] if each["kind"].startswith("coinbase_")]
    assert len(cases) == 2
    for case in cases:
        parts = reference(data, case, case["full_extranonce_size"])
        assert parts[case["kind"] == "coinbase_suffix"].hex() == case["expected"]


def test_merkle_roots_and_share_hashes_are_those_of_the_reference_implementation(
    vectors: Callable[[str], Any],
) -> None:
    data = vectors("sri_jobs_shares.json")
    cases = [each for each in data["vectors"] if each["kind"] in {"merkle_root", "share_hash"}]
    assert len(cases) == 4
    for case in cases:
        extranonce = bytes.fromhex(case["extranonce_prefix"] + case.get("extranonce", ""))
        prefix, suffix = reference(data, case, len(extranonce))
        root = root_from_path(sha256d(prefix + extranonce + suffix), ())
        if case["kind"] == "merkle_root":
            assert root.hex() == case["expected"]
            continue
        previous = bytes.fromhex(case["prev_hash"])
        bits = case["nbits"]
        header = Header(case["header_version"], previous, root, case["ntime"], bits, case["nonce"])
        assert display(header.hash()) == case["expected"]
        assert meets(header.hash(), from_bits(bits)) == ("not a block" not in case["expected_result"])


def test_the_witness_is_stripped_as_recorded(vectors: Callable[[str], Any]) -> None:
    cases = vectors("bip141_strip.json")["vectors"]
    assert len(cases) == 3
    for case in cases:
        parts = bytes.fromhex(case["prefix"]), bytes.fromhex(case["suffix"])
        expected = case["expected"] or case
        assert strip_witness(*parts) == (
            bytes.fromhex(expected["prefix"]),
            bytes.fromhex(expected["suffix"]),
        )
        if case["expected"]:
            assert add_witness(*strip_witness(*parts)) == parts
            assert add_witness(*parts) == parts


templates = st.builds(
    CoinbaseTemplate,
    version=st.integers(0, 0xFFFFFFFF),
    script_prefix=st.integers(0, 1 << 31).map(coinbase.height_push),
    sequence=st.integers(0, 0xFFFFFFFF),
    value=st.integers(0, 21 * 10**14),
    outputs_count=st.just(1),
    outputs=st.binary(max_size=60).map(lambda script: TxOut(0, script).serialize()),
    locktime=st.integers(0, 0xFFFFFFFF),
)


@given(templates, st.binary(min_size=1, max_size=32), st.binary(max_size=30))
def test_the_parts_make_a_coinbase_with_the_extranonce_last_in_its_script(
    template: CoinbaseTemplate, extranonce: bytes, tag: bytes
) -> None:
    reward = TxOut(template.value, b"\x51")
    parts = coinbase_parts(template, [reward], tag=tag, extranonce_size=len(extranonce))
    stripped = Transaction.parse(extranonce.join(parts))
    assert stripped.is_coinbase
    assert stripped.inputs[0].script.endswith(bytes((len(extranonce),)) + extranonce)
    assert stripped.inputs[0].script.startswith(template.script_prefix)
    assert stripped.outputs[0] == reward
    assert (stripped.version, stripped.locktime) == (template.version, template.locktime)
    full = Transaction.parse(extranonce.join(add_witness(*parts)))
    assert full.witnesses == ((bytes(32),),)
    assert full.txid == stripped.txid
    assert strip_witness(*add_witness(*parts)) == parts


TEMPLATE = CoinbaseTemplate(2, b"\x51", 0xFFFFFFFE, 100, 0, b"", 0)


def test_a_coinbase_that_would_be_refused_is_not_built() -> None:
    reward = TxOut(100, b"\x51")
    for size, tag in ((33, TAG), (32, b"x" * 66)):
        with pytest.raises(CoinbaseError, match="scriptSig"):
            coinbase_parts(TEMPLATE, [reward], tag=tag, extranonce_size=size)
    assert coinbase_parts(TEMPLATE, [reward], tag=b"x" * 65, extranonce_size=32)
    for rewards in ([], [reward, reward]):
        with pytest.raises(CoinbaseError, match="worth 100"):
            coinbase_parts(TEMPLATE, rewards, tag=TAG, extranonce_size=8)


def test_heights_are_pushed_and_locked_by_bip34_and_bip54() -> None:
    assert [coinbase.height_push(height).hex() for height in (1, 16, 17, 840_000)] == [
        "51",
        "60",
        "0111",
        "0340d10c",
    ]
    assert [coinbase.locktime(height) for height in (0, 1, 122)] == [0, 0, 121]


@pytest.mark.parametrize(
    "suffix",
    [b"", bytes(4), bytes(38), b"\x01\x20" + bytes(35), b"\x02\x20" + bytes(36), b"\x01\x21" + bytes(36)],
)
def test_a_flag_without_the_witness_is_refused(suffix: bytes) -> None:
    with pytest.raises(CoinbaseError):
        strip_witness(bytes.fromhex("020000000001" + "01"), suffix)


def test_parts_too_short_for_a_coinbase_are_refused() -> None:
    for prefix, suffix in ((b"", bytes(4)), (bytes(4), bytes(4)), (bytes(5), bytes(3))):
        with pytest.raises(CoinbaseError):
            add_witness(prefix, suffix)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_parts_are_stripped_or_refused(prefix: bytes, suffix: bytes) -> None:
    try:
        strip_witness(prefix, suffix)
        add_witness(prefix, suffix)
    except CoinbaseError:
        pass
