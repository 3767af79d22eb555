from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.bitcoin import base58
from protocols.bitcoin.address import address_from_script, script_from_address
from protocols.bitcoin.errors import AddressError
from protocols.bitcoin.networks import Network
from protocols.bitcoin.script import pay_to_public_key_hash, pay_to_script_hash, witness_program

hashes = st.binary(min_size=20, max_size=20)
scripts = st.one_of(
    hashes.map(pay_to_public_key_hash),
    hashes.map(pay_to_script_hash),
    st.one_of(hashes, st.binary(min_size=32, max_size=32)).map(lambda program: witness_program(0, program)),
    st.binary(min_size=32, max_size=32).map(lambda program: witness_program(1, program)),
)


@pytest.mark.parametrize("network", list(Network))
@given(scripts)
@example(pay_to_public_key_hash(bytes(20)))
@example(pay_to_script_hash(bytes(20)))
@example(witness_program(1, bytes(32)))
def test_the_script_of_an_address_has_that_address(network: Network, script: bytes) -> None:
    address = address_from_script(script, network)
    assert address is not None
    assert script_from_address(address, network) == script


@pytest.mark.parametrize("network", [Network.MAIN, Network.TESTNET4])
def test_an_independent_library_reads_the_same_script(
    oracle: Callable[[str], ModuleType], network: Network
) -> None:
    keys = oracle("keys")

    @settings(max_examples=15, deadline=None)
    @given(scripts)
    def check(script: bytes) -> None:
        address = address_from_script(script, network)
        assert address is not None
        found = keys.deserialize_address(address)
        if found["encoding"] == "base58":
            kinds = {"p2pkh": pay_to_public_key_hash, "p2sh": pay_to_script_hash}
            assert kinds[found["script_type"]](found["public_key_hash_bytes"]) == script
        else:
            assert witness_program(found["witver"], found["public_key_hash_bytes"]) == script
        assert ("bitcoin" if network is Network.MAIN else "testnet4") in found["networks"]

    check()


def test_the_first_address_pays_its_key_hash() -> None:
    script = script_from_address("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", Network.MAIN)
    assert script == pay_to_public_key_hash(bytes.fromhex("62e907b15cbf27d5425399ebf6f0fb50ebb88f18"))


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", Network.REGTEST),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", Network.SIGNET),
        ("tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7", Network.REGTEST),
        ("tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut", Network.MAIN),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", Network.MAIN),
        ("", Network.MAIN),
        (base58.encode_check(bytes(20)), Network.MAIN),
        (base58.encode_check(b""), Network.MAIN),
        (base58.encode_check(b"\x80" + bytes(20)), Network.MAIN),
    ],
)
def test_text_that_is_no_address_of_the_network_is_refused(text: str, network: Network) -> None:
    with pytest.raises(AddressError):
        script_from_address(text, network)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        script_from_address(text, Network.MAIN)
    except AddressError:
        pass


@pytest.mark.parametrize(
    "script",
    ["", "6a", "6a24aa21a9ed" + "00" * 32, "51", "0015" + "00" * 21, "a914" + "00" * 20 + "88", "ac" * 25],
)
def test_a_script_of_another_form_has_no_address(script: str) -> None:
    assert address_from_script(bytes.fromhex(script), Network.MAIN) is None


@given(st.binary(max_size=60))
def test_any_script_has_an_address_that_leads_back_or_none(script: bytes) -> None:
    address = address_from_script(script, Network.SIGNET)
    assert address is None or script_from_address(address, Network.SIGNET) == script
