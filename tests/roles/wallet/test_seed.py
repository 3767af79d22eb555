import json
from pathlib import Path

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.deterministic import QuoteKeySource
from roles.wallet.errors import SeedError
from roles.wallet.keyring import Keyring
from roles.wallet.seed import seed_from_words, words_from_entropy

VECTORS = Path(__file__).parents[2] / "vectors" / "cashu"
WORDS = "half depart obvious quality work element tank gorilla view sugar picture humble"


def test_words_and_spaces_are_read_as_people_write_them() -> None:
    assert seed_from_words(f"  {WORDS.upper()}\n".replace(" ", "  ")) == seed_from_words(WORDS)


def test_the_seed_of_the_specification_gives_its_secrets() -> None:
    vector = json.loads((VECTORS / "nut13.json").read_text())
    assert WORDS in json.dumps(vector)
    assert seed_from_words(WORDS).hex()[:16] == "dd44ee516b0647e8"


def test_a_quote_key_is_that_of_its_path() -> None:
    keyring = Keyring(seed_from_words(WORDS))
    secret = QuoteKeySource(seed_from_words(WORDS)).secret(3)
    assert keyring.quote_public(3) == public_key(secret)


def test_made_words_are_a_phrase() -> None:
    words = words_from_entropy(b"\x5a" * 16)
    assert len(words.split()) == 12
    assert len(seed_from_words(words)) == 64


@pytest.mark.parametrize("words", ["", "one two three", WORDS.replace("half", "humble"), WORDS + " half"])
def test_words_that_are_no_phrase_are_refused_without_quoting_them(words: str) -> None:
    with pytest.raises(SeedError) as refusal:
        seed_from_words(words)
    assert "half" not in str(refusal.value)
    assert refusal.value.hint
