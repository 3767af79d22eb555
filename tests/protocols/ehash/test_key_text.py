import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protocols.bitcoin.base58 import ALPHABET, encode_check
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.errors import EhashError, KeyTextError
from protocols.ehash.key_text import Identity, decode_key, encode_key, find_key_option, parse_identity

KEY = public_key(bytes(31) + b"\x07")
OTHER = public_key(bytes(31) + b"\x08")
TEXT = encode_key(KEY)
secrets = st.integers(1, 2**200).map(lambda n: n.to_bytes(32, "big"))


@given(secrets)
@settings(max_examples=50, deadline=None)
def test_a_key_survives_its_text_which_has_52_characters(secret: bytes) -> None:
    key = public_key(secret)
    text = encode_key(key)
    assert len(text) == 52
    assert text.startswith("B")
    assert decode_key(text) == decode_key(key.hex()) == decode_key(key.hex().upper()) == key


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        (TEXT, Identity(KEY, "")),
        (f"{TEXT}.rig.7", Identity(KEY, "rig.7")),
        (f"k={TEXT}", Identity(KEY, "")),
        (f"k={KEY.hex()}.rig", Identity(KEY, "rig")),
        (KEY.hex(), Identity(KEY, "")),
        ("", Identity(None, "")),
        ("alice.rig", Identity(None, "alice.rig")),
        (
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.rig",
            Identity(None, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.rig"),
        ),
        ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", Identity(None, "1BoatSLRHtKNngkdXEeobR76b53LETtpyT")),
        ("bc1p" + "q" * 58, Identity(None, "bc1p" + "q" * 58)),
        ("\udcff\udcfe", Identity(None, "\udcff\udcfe")),
    ],
)
def test_an_identity_is_a_key_with_a_worker_or_a_name(text: str, identity: Identity) -> None:
    assert parse_identity(text) == identity


@given(st.integers(0, 51), st.sampled_from(ALPHABET))
@settings(max_examples=100, deadline=None)
def test_one_wrong_character_makes_a_refusal_and_never_a_name(place: int, character: str) -> None:
    assume(TEXT[place] != character)
    with pytest.raises(KeyTextError):
        parse_identity(TEXT[:place] + character + TEXT[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        TEXT[:-1],
        TEXT + "1",
        TEXT[:-1] + "0",
        KEY.hex()[:-2],
        KEY.hex() + "00",
        "02" + "ff" * 32,
        "04" + "11" * 32,
        "k=",
        "k=alice",
        f"k={TEXT[:-1]}.rig",
        "k=" + encode_check(b"\x49" + KEY),
        "k=" + encode_check(b"\x48" + KEY + b"\0"),
        encode_check(b"\x48\x02" + b"\xff" * 32),
        "k=" + "1" * 300,
    ],
)
def test_what_looks_like_a_key_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(KeyTextError) as caught:
        parse_identity(text)
    assert caught.value.code == "invalid-user-identity"


def test_what_is_no_key_has_no_text() -> None:
    with pytest.raises(KeyTextError):
        encode_key(b"\x02" + b"\xff" * 32)


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_no_text_raises_anything_but_its_own_error(text: str) -> None:
    for read in (parse_identity, find_key_option, decode_key):
        try:
            read(text)
        except EhashError:
            pass


def test_a_password_may_name_the_key_among_its_options() -> None:
    assert find_key_option(f"x,d=1024,k={TEXT}") == KEY
    assert find_key_option(f"k={TEXT};k={KEY.hex()}") == KEY
    assert find_key_option("x") is None
    assert find_key_option("") is None
    with pytest.raises(KeyTextError):
        find_key_option(f"k={TEXT},k={encode_key(OTHER)}")
    with pytest.raises(KeyTextError):
        find_key_option("k=x")
