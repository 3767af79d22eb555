"""Transactions that another implementation has signed go into the mempool and into a block."""

import gc
import importlib
import os
import warnings
from typing import Any

import pytest

from protocols.bitcoin.hashing import display
from protocols.bitcoin.transaction import TxOut
from roles.regtest_node.admission import decode
from tests.roles.regtest_node.forge import COIN, SCRIPT, BlockPlan, Forge, spend


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """bitcoinlib, which writes files and warns while it is imported."""
    os.environ["BCL_DATA_DIR"] = str(tmp_path_factory.mktemp("bitcoinlib"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        modules = [importlib.import_module(f"bitcoinlib.{name}") for name in ("keys", "transactions")]
        gc.collect()
    return modules


@pytest.mark.parametrize(("kind", "cost"), [("legacy", 0), ("segwit", 1), ("p2sh-segwit", 1)])
def test_a_foreign_signature_is_good(forge: Forge, foreign: Any, kind: str, cost: int) -> None:
    keys, transactions = foreign
    key = keys.HDKey(b"\x07" * 32, network="regtest", witness_type=kind, key_type="private")
    script = transactions.Output(1, address=key.address(), network="regtest").lock_script
    funding = spend(forge.mature()[0], outputs=(TxOut(COIN, script),))
    forge.mine(plan=BlockPlan(transactions=(funding,)))
    form = "legacy" if kind == "legacy" else "segwit"
    unsigned = transactions.Transaction(network="regtest", witness_type=form)
    unsigned.add_input(
        display(funding.txid), 0, keys=key, value=COIN, witness_type=kind, address=key.address()
    )
    unsigned.add_output(COIN - 1_000, lock_script=SCRIPT)
    unsigned.sign(key)
    raw = bytes.fromhex(unsigned.raw_hex())
    entry = forge.state.accept(raw)
    assert (entry.fee, entry.sigops) == (1_000, cost)
    assert display(entry.txid) == transactions.Transaction.parse(raw, network="regtest").txid
    forge.mine(plan=BlockPlan(transactions=(decode(raw),), fees=1_000))
    assert len(forge.state.mempool) == 0
