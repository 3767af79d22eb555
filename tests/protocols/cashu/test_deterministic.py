import json
from pathlib import Path
from typing import Any

from mnemonic import Mnemonic

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.deterministic import QuoteKeySource, SecretSource

VECTORS = Path(__file__).parents[2] / "vectors/cashu"
NUT13: dict[str, Any] = json.loads((VECTORS / "nut13.json").read_text())
NUT20: dict[str, Any] = json.loads((VECTORS / "nut20.json").read_text())
SEED = Mnemonic.to_seed(NUT13["mnemonic"])


def _check(case: dict[str, Any]) -> None:
    source = SecretSource(SEED, case["keyset_id"])
    derived = [source.derive(counter) for counter in range(len(case["secrets"]))]
    assert [item.secret for item in derived] == case["secrets"]
    assert [item.blinding.hex() for item in derived] == case["r"]


def test_version_1_secrets_are_those_of_the_specification() -> None:
    _check(NUT13["v1"])


def test_version_2_secrets_are_those_of_the_specification() -> None:
    _check(NUT13["v2"])


def test_quote_keys_are_those_of_the_specification() -> None:
    derivation = NUT20["quote_key_derivation"]
    keys = QuoteKeySource(Mnemonic.to_seed(derivation["mnemonic"]))
    for counter, expected in enumerate(derivation["public_keys"]):
        assert public_key(keys.secret(counter)).hex() == expected["public_key"]


def test_derived_secrets_do_not_show_in_a_representation() -> None:
    derived = SecretSource(SEED, NUT13["v2"]["keyset_id"]).derive(0)
    assert derived.secret not in repr(derived)
