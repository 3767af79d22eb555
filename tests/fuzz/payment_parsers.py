"""What reads payment requests, in both forms, and the payments that answer them."""

from base64 import standard_b64encode, urlsafe_b64encode
from typing import Final

from protocols.bitcoin.bech32 import BECH32M, encode_bytes
from protocols.cashu import base64_text
from protocols.cashu.errors import MalformedError
from protocols.cashu.nostr_name import NostrName
from protocols.cashu.payment import LockRequest, Payload, PaymentRequest, Transport
from protocols.cashu.payment_request import decode, encode_cbor, encode_tlv
from tests.fuzz.campaign import Parser
from tests.fuzz.cashu_parsers import CBOR_WORDS, POINT, PROOFS, dump, load
from tests.fuzz.json_mutation import JsonSamples
from tests.fuzz.mutation import Mutator

NAME: Final = NostrName(b"\x07" * 32, ("wss://relay.example",))
REQUEST: Final = PaymentRequest(
    "id",
    5,
    "usd",
    True,
    ("https://mint.example",),
    "coffee ä",
    (Transport("nostr", NAME.to_text(), (("n", "17"),)), Transport("post", "https://pay.example")),
    LockRequest("P2PK", POINT.hex(), (("sigflag", "SIG_ALL"),)),
)
CBOR: Final = base64_text.decode(encode_cbor(REQUEST)[5:])
FIELDS: Final = (
    b"\x01\x00\x02id\x02\x00\x08" + bytes(8) + b"\x03\x00\x01\x00\x04\x00\x01\x01\x05\x00\x01m",
    b"\x07\x00\x2b\x01\x00\x01\x00\x02\x00\x20" + b"\x07" * 32 + b"\x03\x00\x02\x01n",
    b"\x08\x00\x0b\x01\x00\x01\x01\x02\x00\x01d\x03\x00\x00",
)
PAYLOADS: Final = JsonSamples([dump(Payload("https://m", "usd", PROOFS, "id", "memo").to_json())])


def make_request(mutator: Mutator) -> str:
    """Damaged as text, or below its base64 or checksum."""
    match mutator.below(3):
        case 0:
            return mutator.text(
                [encode_cbor(REQUEST), encode_tlv(REQUEST)], ("creqA", "CREQB1", "bitcoin:?creq=")
            )
        case 1:
            wrap = mutator.pick((urlsafe_b64encode, standard_b64encode))
            return "creqA" + wrap(mutator.damage([CBOR], CBOR_WORDS)).decode()
        case _:
            return encode_bytes("creqb", mutator.damage(FIELDS, (b"\0\0", b"\xff\xff")), BECH32M)


def read_request(text: str) -> None:
    request = decode(text)
    assert decode(encode_cbor(request)) == request


def read_payload(data: bytes) -> None:
    payload = Payload.from_json(load(data))
    assert Payload.from_json(payload.to_json()) == payload
    PaymentRequest("id", 5, "usd", mints=("https://m",)).check(payload)


PARSERS: Final = (
    Parser("payment-requests", make_request, read_request, (MalformedError,)),
    Parser("payments", PAYLOADS.damage, read_payload, (MalformedError,)),
)
