from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin import base58, bip32
from protocols.bitcoin.bip32 import HARDENED, ExtendedPublic, ExtendedSecret, parse_path
from protocols.bitcoin.errors import DerivationError
from protocols.bitcoin.networks import Network

SEED = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
MASTER = ExtendedSecret.from_seed(SEED)
CHAIN = [
    (
        "m",
        "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8",
        "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
    ),
    (
        "m/0'",
        "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw",
        "xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4cV1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7",
    ),
    (
        "m/0'/1",
        "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuCkwQ",
        "xprv9wTYmMFdV23N2TdNG573QoEsfRrWKQgWeibmLntzniatZvR9BmLnvSxqu53Kw1UmYPxLgboyZQaXwTCg8MSY3H2EU4pWcQDnRnrVA1xe8fs",
    ),
    (
        "m/0'/1/2'/2/1000000000",
        "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy",
        "xprvA41z7zogVVwxVSgdKUHDy1SKmdb533PjDz7J6N6mV6uS3ze1ai8FHa8kmHScGpWmj4WggLyQjgPie1rFSruoUihUZREPSL39UNdE3BBDu76",
    ),
]


@pytest.mark.parametrize(("path", "public", "secret"), CHAIN)
def test_the_first_vector_of_bip32_is_reproduced(path: str, public: str, secret: str) -> None:
    key = MASTER.derive(path)
    assert key.encode(Network.MAIN) == secret
    assert key.public.encode(Network.MAIN) == public
    assert ExtendedSecret.decode(secret, Network.MAIN) == key
    assert ExtendedPublic.decode(public, Network.MAIN) == key.public


def test_a_secret_whose_leading_bytes_are_zero_keeps_them() -> None:
    # The third vector of BIP32.
    seed = bytes.fromhex(
        "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4ac"
        "ba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be"
    )
    assert ExtendedSecret.from_seed(seed).derive("m/0h").encode(Network.MAIN) == (
        "xprv9uPDJpEQgRQfDcW7BkF7eTya6RPxXeJCqCJGHuCJ4GiRVLzkTXBAJMu2qaMWPrS7AANYqdq6vcBcBUdJCVVFceUvJFjaPdGZ2y9WACViL4L"
    )


def test_an_independent_library_derives_the_same_keys(oracle: Callable[[str], ModuleType]) -> None:
    library = oracle("keys").HDKey

    @settings(max_examples=8, deadline=None)
    @given(st.binary(min_size=16, max_size=64), st.lists(st.integers(0, 2 * HARDENED - 1), max_size=3))
    def check(seed: bytes, path: list[int]) -> None:
        theirs = library.from_seed(seed.hex(), witness_type="legacy")
        ours = ExtendedSecret.from_seed(seed)
        for index in path:
            theirs = theirs.child_private(index % HARDENED, hardened=index >= HARDENED)
            ours = ours.child(index)
        assert theirs.wif(is_private=True) == ours.encode(Network.MAIN)

    check()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, HARDENED - 1))
def test_public_derivation_finds_the_public_key_of_the_secret_child(index: int) -> None:
    assert MASTER.public.child(index) == MASTER.child(index).public


def test_paths_are_read_in_each_notation() -> None:
    steps = (129_373 + HARDENED, 20 + HARDENED, HARDENED, 0, 7)
    assert parse_path("m/129373'/20'/0'/0/7") == steps
    assert parse_path("129373h/20h/0h/0/7") == steps
    assert parse_path("m") == parse_path("") == ()
    assert MASTER.derive([HARDENED, 1]) == MASTER.derive("m/0'/1")
    assert MASTER.public.derive([0, 1]) == MASTER.public.derive("0/1")


@pytest.mark.parametrize(
    "path", ["m/", "m/x", "m/-1", "m/2147483648", "m/1''", "m/١", "/1", "m/" + "9" * 5000]
)
def test_a_malformed_path_is_refused(path: str) -> None:
    with pytest.raises(DerivationError):
        parse_path(path)


def test_children_that_cannot_be_are_refused() -> None:
    for index in (-1, HARDENED):
        with pytest.raises(DerivationError):
            MASTER.public.child(index)
    for index in (-1, 2 * HARDENED):
        with pytest.raises(DerivationError):
            MASTER.child(index)
    deepest = ExtendedSecret(secret=MASTER.secret, chain_code=MASTER.chain_code, depth=255)
    for key in (deepest, deepest.public):
        with pytest.raises(DerivationError, match="255"):
            key.child(0)


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_seed_of_the_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(DerivationError):
        ExtendedSecret.from_seed(bytes(size))


def test_the_digests_that_give_no_key_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bip32, "hmac_sha512", lambda *_: b"\xff" * 64)
    with pytest.raises(DerivationError, match="master"):
        ExtendedSecret.from_seed(SEED)
    for key in (MASTER, MASTER.public):
        with pytest.raises(DerivationError, match="take the next"):
            key.child(0)


def serialized(version: str, place: bytes, key: bytes) -> str:
    return base58.encode_check(bytes.fromhex(version) + place + MASTER.chain_code + key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xpub",
        CHAIN[0][1][:-1] + "9",
        CHAIN[0][2],
        MASTER.public.encode(Network.SIGNET),
        serialized("0488b21e", bytes(9), MASTER.point + b"\0"),
        serialized("0488b21e", bytes(9), b"\0" + MASTER.secret),
        serialized("0488b21e", b"\0" + b"\x01" * 4 + bytes(4), MASTER.point),
        serialized("0488b21e", bytes(8) + b"\x01", MASTER.point),
    ],
)
def test_text_that_is_no_extended_public_key_is_refused(text: str) -> None:
    with pytest.raises(DerivationError):
        ExtendedPublic.decode(text, Network.MAIN)


@pytest.mark.parametrize("key", [MASTER.point, bytes(33), b"\0" + b"\xff" * 32])
def test_text_that_is_no_extended_secret_key_is_refused(key: bytes) -> None:
    with pytest.raises(DerivationError):
        ExtendedSecret.decode(serialized("0488ade4", bytes(9), key), Network.MAIN)


def test_secrets_are_not_shown() -> None:
    shown = repr(MASTER)
    assert MASTER.secret.hex() not in shown
    assert str(MASTER.secret) not in shown
    assert str(MASTER.chain_code) not in shown


def test_the_key_of_a_child_is_had_without_its_text() -> None:
    for index in (0, 7, 1 << 31):
        assert MASTER.child_secret(index, MASTER.point) == MASTER.child(index).secret
