"""Signature operation costs, and output scripts as bitcoind shows them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.descriptor import script_from_descriptor
from protocols.bitcoin.hashing import hash160, sha256
from protocols.bitcoin.networks import Network
from protocols.bitcoin.script import (
    legacy_sigops,
    pay_to_public_key_hash,
    pay_to_script_hash,
    push,
    witness_program,
)
from protocols.bitcoin.transaction import Transaction, TxIn, TxOut
from roles.regtest_node.script_view import disassemble, script_json, script_type
from roles.regtest_node.sigops import is_push_only, operations, sigop_cost
from tests.roles.regtest_node.forge import SCRIPT

KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
TWO_OF_THREE = b"\x52" + push(KEY) * 3 + b"\x53\xae"
P2WPKH = witness_program(0, hash160(KEY))
P2WSH = witness_program(0, sha256(TWO_OF_THREE))


def cost(script: bytes, script_sig: bytes = b"", witness: tuple[bytes, ...] = ()) -> int:
    transaction = Transaction(
        2,
        (TxIn(bytes(range(32)), 0, script_sig),),
        (TxOut(1, b"\x51"),),
        (witness,) if witness else (),
    )
    return sigop_cost(transaction, [script])


@pytest.mark.parametrize(
    ("script", "script_sig", "witness", "expected"),
    [
        (pay_to_public_key_hash(bytes(20)), b"", (), 0),
        (P2WPKH, b"", (b"s", KEY), 1),
        (P2WSH, b"", (b"", b"a", b"b", TWO_OF_THREE), 3),
        (P2WSH, b"", (), 0),
        (SCRIPT, b"", (bytes(64),), 0),
        (witness_program(0, bytes(25)), b"", (b"x",), 0),
        (pay_to_script_hash(hash160(TWO_OF_THREE)), push(TWO_OF_THREE), (), 12),
        (pay_to_script_hash(bytes(20)), push(b"\xae"), (), 80),
        (pay_to_script_hash(bytes(20)), push(b"\x60\xaf"), (), 64),
        (pay_to_script_hash(bytes(20)), push(b"\xac\x05"), (), 4),
        (pay_to_script_hash(bytes(20)), b"\xac" + push(b"\xac"), (), 4),
        (pay_to_script_hash(bytes(20)), b"", (), 0),
        (pay_to_script_hash(hash160(P2WPKH)), push(P2WPKH), (b"s", KEY), 1),
        (pay_to_script_hash(hash160(P2WSH)), push(P2WSH), (b"", TWO_OF_THREE), 3),
    ],
)
def test_an_inputs_cost_is_counted_by_its_kind(
    script: bytes, script_sig: bytes, witness: tuple[bytes, ...], expected: int
) -> None:
    assert cost(script, script_sig, witness) == expected


def test_outputs_count_four_each_whoever_spends_them() -> None:
    transaction = Transaction(2, (TxIn(bytes(32), 0xFFFFFFFF, b"\x51\x00"),), (TxOut(1, b"\xac\xae"),))
    assert sigop_cost(transaction, []) == (1 + 20) * 4


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_can_be_counted_shown_and_named(script: bytes) -> None:
    assert cost(pay_to_script_hash(bytes(20)), push(script)) >= 0
    assert disassemble(script).count("[error]") <= 1
    shown = script_json(script)
    assert shown["type"] == script_type(script)
    if "address" in shown:
        assert script_from_descriptor(shown["desc"], Network.REGTEST) == script
    else:
        assert shown["desc"].startswith(f"raw({script.hex()})#")


@given(st.lists(st.binary(max_size=300), max_size=5))
@settings(max_examples=100, deadline=None)
def test_pushes_come_back_as_they_were(parts: list[bytes]) -> None:
    script = b"".join(push(part) for part in parts)
    assert [data for _, data in operations(script)] == parts
    assert is_push_only(script)
    assert legacy_sigops(script) == 0


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        (P2WPKH, "witness_v0_keyhash", f"0 {hash160(KEY).hex()}"),
        (P2WSH, "witness_v0_scripthash", f"0 {sha256(TWO_OF_THREE).hex()}"),
        (SCRIPT, "witness_v1_taproot", f"1 {SCRIPT[2:].hex()}"),
        (bytes.fromhex("51024e73"), "anchor", "1 29518"),
        (witness_program(2, bytes(32)), "witness_unknown", f"2 {bytes(32).hex()}"),
        (witness_program(0, bytes(25)), "nonstandard", f"0 {bytes(25).hex()}"),
        (
            pay_to_public_key_hash(hash160(KEY)),
            "pubkeyhash",
            f"OP_DUP OP_HASH160 {hash160(KEY).hex()} OP_EQUALVERIFY OP_CHECKSIG",
        ),
        (
            pay_to_script_hash(hash160(KEY)),
            "scripthash",
            f"OP_HASH160 {hash160(KEY).hex()} OP_EQUAL",
        ),
        (push(KEY) + b"\xac", "pubkey", f"{KEY.hex()} OP_CHECKSIG"),
        (TWO_OF_THREE, "multisig", f"2 {KEY.hex()} {KEY.hex()} {KEY.hex()} 3 OP_CHECKMULTISIG"),
        (b"\x6a\x04\xff\xff\xff\xff", "nulldata", "OP_RETURN -2147483647"),
        (b"\x6a\x4c\x05hello", "nulldata", "OP_RETURN 68656c6c6f"),
        (b"\x6a\xac", "nonstandard", "OP_RETURN OP_CHECKSIG"),
        (b"\x4f\x50\x05x", "nonstandard", "-1 OP_UNKNOWN [error]"),
        (b"", "nonstandard", ""),
    ],
)
def test_scripts_have_bitcoinds_names(script: bytes, kind: str, text: str) -> None:
    assert (script_type(script), disassemble(script)) == (kind, text)
