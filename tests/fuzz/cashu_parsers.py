"""What reads tokens, secrets, keysets and the values that wallets and mints exchange."""

import json
from base64 import b64decode, standard_b64encode, urlsafe_b64encode
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import lookup, quote_signature
from protocols.cashu.condition import Condition
from protocols.cashu.errors import CashuError, KeysetUnknownError, MalformedError, SignatureError
from protocols.cashu.keyset import Keyset, keyset_id_v1, keyset_id_v2
from protocols.cashu.lookup import LookupRequest
from protocols.cashu.models import BlindedMessage, BlindSignature, Dleq, Proof
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.p2pk import check_inputs, sign_input
from protocols.cashu.token import Token, decode, decode_raw, encode_raw, encode_v3, encode_v4
from protocols.cashu.unlocking import Keyring, unlock
from protocols.cashu.witness import Witness
from tests.fuzz.campaign import Parser
from tests.fuzz.json_mutation import JsonSamples
from tests.fuzz.mutation import Mutator

NOW: Final = 1_800_000_000
SECRET: Final = b"\x11" * 32
POINT, OTHER = public_key(SECRET), public_key(b"\x12" * 32)
KEYS: Final = {1: POINT, 2: OTHER, 4: POINT}
V1, V2 = keyset_id_v1(KEYS), keyset_id_v2(KEYS, "sat", 100, NOW)
DLEQ: Final = Dleq(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
LOCK: Final = ConditionSecret("P2PK", "n" * 16, POINT.hex(), (("sigflag", "SIG_INPUTS"), ("n_sigs", "1")))
LOCKS: Final = (
    LOCK,
    ConditionSecret(
        "P2PK", "n", POINT.hex(), (("sigflag", "SIG_ALL"), ("pubkeys", OTHER.hex()), ("n_sigs", "2"))
    ),
    ConditionSecret(
        "P2PK", "n", OTHER.hex(), (("locktime", "21"), ("refund", POINT.hex()), ("n_sigs_refund", "1"))
    ),
    ConditionSecret("HTLC", "n", "ab" * 32, (("pubkeys", POINT.hex()), ("locktime", str(NOW)))),
    ConditionSecret("OTHER", "n", "data"),
)
WITNESS: Final = Witness((sign_input(SECRET, LOCK.to_text(), bytes(32)),))
PROOFS: Final = (
    Proof(1, V1, "plain secret", POINT),
    Proof(2, V2, LOCK.to_text(), OTHER, WITNESS.to_text(), DLEQ),
    Proof((1 << 64) - 1, V1, "ä€😀", POINT, None, Dleq(b"\x01" * 32, b"\x02" * 32), OTHER),
)
TOKENS: Final = (
    Token("https://mint.example", PROOFS[:1], "sat"),
    Token("https://mint.example/path", PROOFS, "hash_02ab_0", "memo ä"),
)


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


V3_SAMPLES: Final = JsonSamples([b64decode(encode_v3(token)[6:] + "==") for token in TOKENS])
RAW: Final = tuple(encode_raw(token)[5:] for token in TOKENS)
CBOR_WORDS: Final = tuple(
    bytes.fromhex(text)
    for text in [
        "f6",
        "f5",
        "f7",
        "ff",
        "9f",
        "bf",
        "7f",
        "5f",
        "80",
        "a0",
        "1bffffffffffffffff",
        "3bffffffffffffffff",
        "fb7ff0000000000000",
        "f97e00",
        "c249ffffffffffffffffff",
        "c4821b7fffffffffffffff01",
        "c5821b7fffffffffffffff03",
        "d81e820100",
        "d81e82010a",
        "c11b7fffffffffffffff",
        "c074323031332d30332d32315432303a30343a30305a",
        "d82378085b612d7a2b292b28",
        "d81c80",
        "d81d00",
        "d90102d81c80",
        "d9d9f7",
        "5b7fffffffffffffff",
        "9b00ffffffffffffff",
        "bbffffffffffffffff",
        "7b00000000ffffffff",
        "8181818181818181818181818181",
        "a1616101616102",
        "d825501234",
        "d9010443c0a800",
        "61ff",
        "62c328",
        "a0a1",
    ]
)
"""CBOR that a token has no use for: tags, streams, special numbers, and lengths beyond all reason."""


def make_token(mutator: Mutator) -> str:
    """Damaged as text, or below its base64."""
    match mutator.below(3):
        case 0:
            return mutator.text(
                [encode_v3(TOKENS[1]), encode_v4(TOKENS[1])], ("cashu:", "cashuA", "cashuB", "==")
            )
        case 1:
            return "cashuA" + wrap(V3_SAMPLES.damage(mutator), mutator)
        case _:
            return "cashuB" + wrap(mutator.damage(RAW, CBOR_WORDS), mutator)


def wrap(data: bytes, mutator: Mutator) -> str:
    return mutator.pick((urlsafe_b64encode, standard_b64encode))(data).decode()


def read_token(text: str) -> None:
    check_token(decode(text))


def read_raw_token(data: bytes) -> None:
    check_token(decode_raw(b"crawB" + data))


def check_token(token: Token) -> None:
    assert token.proofs
    assert token.amount >= 0
    assert decode(encode_v3(token)) == token
    if token.unit is not None:
        again = decode(encode_v4(token))
        assert again == decode_raw(encode_raw(token))
        assert (again.mint, again.unit, again.memo, again.amount) == (
            token.mint,
            token.unit,
            token.memo,
            token.amount,
        )
    try:
        token.with_full_ids([V1, V2])
    except KeysetUnknownError:
        pass


class Spending(NamedTuple):
    """Inputs of a request, and what it would have signed."""

    secrets: list[str]
    witness: str | None


SECRETS: Final = JsonSamples([lock.to_text().encode() for lock in LOCKS])
WITNESSES: Final = JsonSamples(
    [WITNESS.to_text().encode(), dump({"preimage": "00" * 32, "signatures": ["00" * 64, "11" * 64]})]
)


def as_text(data: bytes, mutator: Mutator) -> str:
    return data.decode("utf-8", "ignore" if mutator.happens(0.9) else "replace")


def make_spending(mutator: Mutator) -> Spending:
    secrets = [as_text(SECRETS.damage(mutator), mutator)] * (1 + mutator.below(2))
    if mutator.happens(1 / 8):
        secrets.append("plain")
    sound = mutator.happens(1 / 2)
    witness = WITNESS.to_text() if sound else as_text(WITNESSES.damage(mutator), mutator)
    return Spending(secrets, None if mutator.happens(1 / 8) else witness)


def read_spending(spending: Spending) -> None:
    for secret in spending.secrets:
        parsed = ConditionSecret.parse(secret)
        if parsed is not None:
            assert ConditionSecret.parse(parsed.to_text()) == parsed
            Condition.parse(parsed)
    inputs = [Proof(1, V1, secret, POINT, spending.witness) for secret in spending.secrets]
    outputs = [BlindedMessage(1, V1, POINT)]
    blinded = [replace(proof, ephemeral_key=OTHER) for proof in inputs]
    for proofs in (inputs, blinded):
        try:
            unlock(proofs, Keyring((SECRET,), (bytes(32),)), now=NOW, aux=bytes(32), outputs=outputs)
        except (SignatureError, MalformedError):
            pass
    check_inputs(inputs, outputs, NOW)


OUTPUT: Final = BlindedMessage(8, V2, POINT)
MODELS: Final = JsonSamples(
    [
        dump(OUTPUT.to_json()),
        dump(BlindSignature(8, V1, OTHER, DLEQ).to_json()),
        *(dump(proof.to_json()) for proof in PROOFS),
    ]
)
KEYSETS: Final = JsonSamples(
    [
        dump(
            {
                "id": name,
                "unit": "sat",
                "keys": {str(amount): key.hex() for amount, key in KEYS.items()},
                **more,
            }
        )
        for name, more in (
            (V1, {}),
            (V2, {"input_fee_ppk": 100, "final_expiry": NOW}),
            (keyset_id_v2(KEYS, "sat"), {"final_expiry": None, "active": True}),
        )
    ]
)
SIGNED: Final = lookup.sign(SECRET, OTHER, POINT, NOW, bytes(32))
LOOKUPS: Final = JsonSamples(
    [
        dump(
            {
                "pubkeys": [POINT.hex()],
                "pubkey_signatures": [SIGNED.hex()],
                "timestamp": NOW,
                "only_mintable": True,
            }
        ),
        dump(
            {
                "pubkeys": [POINT.hex(), OTHER.hex()],
                "pubkey_signatures": [SIGNED.hex()] * 2,
                "timestamp": NOW - 300,
                "limit": 5,
                "cursor": "abc",
            }
        ),
    ]
)


def load(data: bytes) -> Any:
    """JSON as it comes over HTTP; what is none never gets to a reader."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedError("not JSON") from error


def read_model(data: bytes) -> None:
    value = load(data)
    model: type[BlindedMessage | BlindSignature | Proof] = BlindedMessage
    if isinstance(value, dict):
        model = Proof if "secret" in value else BlindSignature if "C_" in value else BlindedMessage
    made = model.from_json(value)
    assert model.from_json(orjson.loads(orjson.dumps(made.to_json()))) == made


def read_keyset(data: bytes) -> None:
    keyset = Keyset.from_json(load(data))
    assert list(keyset.keys) == sorted(keyset.keys)


def read_lookup(data: bytes) -> None:
    request = LookupRequest.from_json(load(data), now=NOW, max_keys=3)
    request.verify(OTHER)


class Claim(NamedTuple):
    """What claims to unlock a quote."""

    quote: str
    outputs: list[BlindedMessage]
    signature: bytes


def make_claim(mutator: Mutator) -> Claim:
    quote = mutator.text(["quote"]) if mutator.happens(1 / 2) else "quote"
    outputs = [
        BlindedMessage(mutator.below(1 << 64), V1, mutator.pick((POINT, OTHER)))
        for _ in range(mutator.below(3))
    ]
    made = quote_signature.sign(SECRET, "quote", outputs, bytes(32))
    return Claim(
        quote.encode("utf-8", "replace").decode(), outputs, mutator.damage([made])[:64].ljust(64, b"\0")
    )


def read_claim(claim: Claim) -> None:
    if not quote_signature.verify(POINT, *claim):
        raise SignatureError("refused")
    assert claim.quote == "quote"


PARSERS: Final = (
    Parser("cashu-tokens", make_token, read_token, (MalformedError,)),
    Parser(
        "cashu-raw-tokens", lambda mutator: mutator.damage(RAW, CBOR_WORDS), read_raw_token, (MalformedError,)
    ),
    Parser("cashu-conditions", make_spending, read_spending, (SignatureError,)),
    Parser("cashu-models", MODELS.damage, read_model, (MalformedError,)),
    Parser("cashu-keysets", KEYSETS.damage, read_keyset, (MalformedError,)),
    Parser("cashu-lookups", LOOKUPS.damage, read_lookup, (CashuError,)),
    Parser("cashu-quote-signatures", make_claim, read_claim, (SignatureError,)),
)
