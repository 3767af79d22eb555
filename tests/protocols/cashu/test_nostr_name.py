import pytest

from protocols.bitcoin.bech32 import BECH32, BECH32M, encode_bytes
from protocols.cashu.errors import MalformedError
from protocols.cashu.nostr_name import NostrName

KEY = bytes.fromhex("3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d")


def test_names_are_those_of_nip_19() -> None:
    profile = (
        "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv"
        "34kytnrdaksjlyr9p"
    )
    name = NostrName(KEY, ("wss://r.x.com", "wss://djbas.sadkb.com"))
    assert NostrName.parse(profile) == name
    assert name.to_text() == profile
    npub = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"
    assert NostrName.parse(npub) == NostrName(KEY)
    assert NostrName(KEY).to_text() == npub


def test_fields_of_unknown_kinds_are_passed_over() -> None:
    data = b"\x07\x01x" + b"\x00\x20" + KEY
    assert NostrName.parse(encode_bytes("nprofile", data, BECH32)) == NostrName(KEY)


@pytest.mark.parametrize(
    ("prefix", "data"),
    [
        ("npub", KEY[1:]),
        ("nsec", KEY),
        ("nprofile", b""),
        ("nprofile", b"\0"),
        ("nprofile", b"\0\x20" + KEY[1:]),
        ("nprofile", b"\0\x1f" + KEY[1:]),
        ("nprofile", (b"\0\x20" + KEY) * 2),
    ],
)
def test_a_name_of_another_shape_is_malformed(prefix: str, data: bytes) -> None:
    with pytest.raises(MalformedError):
        NostrName.parse(encode_bytes(prefix, data, BECH32))


def test_a_name_with_a_wrong_checksum_is_malformed() -> None:
    for text in ("npub1", "x" * 5000, encode_bytes("npub", KEY, BECH32M)):
        with pytest.raises(MalformedError):
            NostrName.parse(text)
