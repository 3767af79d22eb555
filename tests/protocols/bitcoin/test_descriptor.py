import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin.address import address_from_script, script_from_address
from protocols.bitcoin.bip32 import ExtendedSecret
from protocols.bitcoin.descriptor import checksum, script_from_descriptor, script_from_text
from protocols.bitcoin.errors import DescriptorError, TextError
from protocols.bitcoin.hashing import hash160
from protocols.bitcoin.networks import Network

KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
KEY_HASH = hash160(bytes.fromhex(KEY)).hex()
ACCOUNT = ExtendedSecret.from_seed(bytes(32)).derive("m/84'/0'/0'")
XPUB = ACCOUNT.public.encode(Network.MAIN)


def test_the_checksum_is_that_of_bip380() -> None:
    assert checksum("raw(deadbeef)") == "89f8spxm"
    assert script_from_descriptor("raw(deadbeef)#89f8spxm", Network.MAIN).hex() == "deadbeef"


@pytest.mark.parametrize(
    "text",
    ["raw(deadbeef)#", "raw(deadbeef)#89f8spxmx", "raw(deadbeef)#89f8spx", "raw(deadbeee)#89f8spxm",
     "raw(deadbeef)##9f8spxm", "raw(Ü)#00000000"],
)  # fmt: skip
def test_a_wrong_checksum_is_refused(text: str) -> None:
    with pytest.raises(DescriptorError):
        script_from_descriptor(text, Network.MAIN)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("addr(1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa)", "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac"),
        ("raw(6a00)", "6a00"),
        (f"pkh({KEY})", f"76a914{KEY_HASH}88ac"),
        (f"wpkh({KEY})", f"0014{KEY_HASH}"),
        (f"wpkh([d34db33f/84'/0'/0h]{KEY})", f"0014{KEY_HASH}"),
        (f"sh(wpkh({KEY}))", f"a914{hash160(bytes.fromhex('0014' + KEY_HASH)).hex()}87"),
        (f"tr({KEY})", "5120da4710964f7852695de2da025290e24af6d8c281de5a0b902b7135fd9fd74d21"),
        (f"tr({KEY[2:]})", "5120da4710964f7852695de2da025290e24af6d8c281de5a0b902b7135fd9fd74d21"),
    ],
)
def test_each_function_gives_its_script(text: str, script: str) -> None:
    assert script_from_descriptor(text, Network.MAIN).hex() == script
    assert script_from_descriptor(f"{text}#{checksum(text)}", Network.MAIN).hex() == script


def test_the_first_receiving_address_of_bip86_is_found_by_its_extended_key() -> None:
    seed = bytes.fromhex(
        "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1"
        "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4"
    )
    xpub = ExtendedSecret.from_seed(seed).derive("m/86'/0'/0'").public.encode(Network.MAIN)
    script = script_from_descriptor(f"tr([73c5da0a/86'/0'/0']{xpub}/0/0)", Network.MAIN)
    address = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    assert address_from_script(script, Network.MAIN) == address


def test_an_extended_key_derives_its_child() -> None:
    child = ACCOUNT.derive("0/3").point.hex()
    expected = script_from_descriptor(f"wpkh({child})", Network.MAIN)
    assert script_from_descriptor(f"wpkh({XPUB}/0/3)", Network.MAIN) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not one of"),
        ("wpkh", "not one of"),
        (f"wpkh({KEY}", "not one of"),
        (f"wpkh({KEY}))", "not one of"),
        (f"sh(wpkh({KEY})", "not one of"),
        (f"sh(pkh({KEY}))", "not one of"),
        (f"pk({KEY})", "one public key"),
        (f"multi(1,{KEY})", "one public key"),
        ("raw(0)", "hex"),
        ("raw(zz)", "hex"),
        ("wpkh()", "33 bytes"),
        (f"wpkh({KEY[2:]})", "33 bytes"),
        ("wpkh(05" + KEY[2:] + ")", "compressed point"),
        ("tr(" + "ff" * 32 + ")", "taproot"),
        (f"wpkh({XPUB}/0/*)", "many scripts"),
        (f"wpkh({XPUB}/<0;1>/5)", "many scripts"),
        (f"wpkh({XPUB}/0')", "hardened"),
        (f"wpkh({XPUB}/x)", "step"),
        ("wpkh(tpubD6NzVbkrYhZ4)", "extended key"),
        ("addr(bc1q)", "address"),
        (f"wpkh({ACCOUNT.encode(Network.MAIN)}/0/0)", "secret key"),
        ("wpkh(KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn)", "secret key"),
        ("[" * 3000, "characters"),
    ],
)
def test_a_descriptor_that_names_no_single_script_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DescriptorError, match=reason):
        script_from_descriptor(text, Network.MAIN)


def test_a_secret_key_is_not_repeated_in_the_refusal() -> None:
    text = ACCOUNT.encode(Network.MAIN)
    for attempt in (f"wpkh({text})", f"tr({text}/0)", f"addr({text})", text):
        with pytest.raises(TextError) as caught:
            script_from_text(attempt, Network.MAIN)
        assert text[8:40] not in str(caught.value)


def test_an_operator_gives_an_address_or_a_descriptor() -> None:
    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    script = script_from_address(address, Network.REGTEST)
    assert script_from_text(address, Network.REGTEST) == script
    assert script_from_text(f"addr({address})", Network.REGTEST) == script


functions = st.sampled_from(["addr(", "raw(", "pkh(", "sh(wpkh(", "tr(", "x("])


@given(functions, st.text(alphabet="0123456789abcdef[]()/'*#xpub", max_size=90))
def test_any_text_is_a_descriptor_or_refused(function: str, argument: str) -> None:
    try:
        script_from_descriptor(f"{function}{argument})", Network.MAIN)
    except DescriptorError:
        pass


@given(st.text(max_size=30))
def test_any_text_at_all_is_a_descriptor_or_refused(text: str) -> None:
    try:
        script_from_text(text, Network.MAIN)
    except TextError:
        pass
