"""The handshake against recorded transcripts, and everything that must not complete one."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin import secp256k1
from protocols.bitcoin.hashing import sha256
from protocols.noise.authority import decode_public, decode_secret, encode_public, encode_secret, public_of
from protocols.noise.certificate import BACKDATE, CERTIFICATE_SIZE, LEEWAY, Certificate
from protocols.noise.errors import (
    AuthorityKeyError,
    CertificateOutOfDate,
    CertificateUnsupported,
    HandshakeForged,
    HandshakeMalformed,
    NoiseError,
    WrongAuthority,
)
from protocols.noise.handshake import ACT1_SIZE, ACT2_SIZE, Initiator, Responder, Session
from protocols.noise.symmetric import PROTOCOL_NAME, SymmetricState
from protocols.noise.transport import CHUNK_SIZE, SEALED_HEADER_SIZE, Transport

VECTORS = Path(__file__).parents[2] / "vectors" / "sv2"
ZERO = bytes(32)


def vector(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return loaded


OWN = vector("noise_transcript_self_generated")
INPUTS = {name: bytes.fromhex(value) for name, value in OWN["inputs"].items() if name.endswith("_sk")}
AUTHORITY = bytes.fromhex(OWN["keys"]["authority_xonly"])
STATIC = bytes.fromhex(OWN["keys"]["responder_static_xonly"])
ACT1, ACT2 = bytes.fromhex(OWN["act1"]), bytes.fromhex(OWN["act2"])
FROM, UNTIL = OWN["inputs"]["cert_valid_from"], OWN["inputs"]["cert_not_valid_after"]


def certificate(valid_from: int = FROM, not_valid_after: int = UNTIL) -> Certificate:
    return Certificate.issue(
        INPUTS["authority_sk"], STATIC, valid_from=valid_from, not_valid_after=not_valid_after, aux=ZERO
    )


def initiator(authority: bytes | None = AUTHORITY) -> Initiator:
    side = Initiator(
        ephemeral_secret=INPUTS["initiator_ephemeral_sk"], ephemeral_aux=ZERO, authority=authority
    )
    side.start()
    return side


def responder(proof: bytes | None = None) -> Responder:
    return Responder(
        static_secret=INPUTS["responder_static_sk"],
        static_ellswift=bytes.fromhex(OWN["keys"]["responder_static_ellswift"]),
        certificate=certificate().pack() if proof is None else proof,
        ephemeral_secret=INPUTS["responder_ephemeral_sk"],
        ephemeral_aux=ZERO,
    )


def test_the_constants_are_those_of_the_protocol() -> None:
    constants = vector("noise_constants")
    assert PROTOCOL_NAME.decode() == constants["protocol_name"]
    assert SymmetricState().chaining_key.hex() == constants["sha256_of_name"]
    assert SymmetricState().hash.hex() == OWN["state"]["h0"]
    assert constants["act1_bytes"] == ACT1_SIZE
    assert constants["act2_bytes"] == ACT2_SIZE
    assert constants["encrypted_header_bytes"] == SEALED_HEADER_SIZE
    assert constants["max_chunk_plaintext"] == CHUNK_SIZE


def test_the_certificate_of_the_transcript_is_issued_and_verified() -> None:
    packed = bytes.fromhex(OWN["certificate"]["signature_noise_message"])
    assert certificate().pack() == packed
    assert Certificate.parse(packed) == certificate()
    certificate().verify(AUTHORITY, STATIC, FROM)


def test_both_sides_reproduce_the_transcript() -> None:
    side = Initiator(
        ephemeral_secret=INPUTS["initiator_ephemeral_sk"], ephemeral_aux=ZERO, authority=AUTHORITY
    )
    assert side.start() == ACT1
    act2, served = responder().receive(ACT1)
    assert act2 == ACT2
    session = side.receive(ACT2, now=FROM)
    keys = OWN["state"]["k_initiator_to_responder"], OWN["state"]["k_responder_to_initiator"]
    assert (session.send_key.hex(), session.receive_key.hex()) == keys
    assert (served.receive_key.hex(), served.send_key.hex()) == keys
    assert session.handshake_hash.hex() == served.handshake_hash.hex() == OWN["state"]["h_final"]
    assert session.peer_static == STATIC
    assert served.peer_static is None
    assert keys[0] not in repr(session)


def test_both_directions_reproduce_the_transcript() -> None:
    act2, served = responder().receive(ACT1)
    sides = {
        "initiator->responder": Transport(initiator().receive(act2, FROM), lambda _: None),
        "responder->initiator": Transport(served, lambda _: None),
    }
    opposite = dict(zip(sides, reversed(list(sides)), strict=True))
    for frame in OWN["transport"]:
        payload = bytes.fromhex(frame["payload"]) if "payload" in frame else bytes(range(256)) * 512
        header = frame["extension_type"].to_bytes(2, "little") + bytes([frame["msg_type"]])
        header += len(payload).to_bytes(3, "little")
        sealed = sides[frame["direction"]].send(header, payload)
        if "ciphertext" in frame:
            assert sealed.hex() == frame["ciphertext"]
        else:
            assert len(sealed) == frame["ciphertext_len"]
            assert sha256(sealed).hex() == frame["ciphertext_sha256"]
        assert sides[opposite[frame["direction"]]].receive(sealed) == [(header, payload)]


def test_the_handshake_recorded_from_another_implementation_is_reproduced() -> None:
    recorded = vector("noise_transcript_sv2tp")
    transcript = {name: bytes.fromhex(value) for name, value in recorded["transcript"].items()}
    authority = transcript["authority_xonly"]

    class Recorded(Initiator):
        """The recorded ephemeral key was made with entropy that the record does not tell."""

        def start(self) -> bytes:
            self._ellswift = transcript["act1"]
            return super().start()

    side = Recorded(
        ephemeral_secret=transcript["initiator_ephemeral_secret"], ephemeral_aux=ZERO, authority=authority
    )
    assert side.start() == transcript["act1"]
    own_key = secp256k1.public_key(transcript["initiator_ephemeral_secret"])
    assert secp256k1.ellswift_decode(transcript["act1"]) == own_key
    session = side.receive(transcript["act2"], now=recorded["certificate"]["valid_from"])
    assert session.handshake_hash == transcript["handshake_hash"]
    assert session.send_key == transcript["k_initiator_to_responder"]
    assert session.receive_key == transcript["k_responder_to_initiator"]
    assert session.peer_static == transcript["responder_static_xonly"]
    sealed = transcript["first_frame_wire"]
    peer = Session(session.handshake_hash, None, session.receive_key, session.send_key)
    ((header, payload),) = Transport(peer, lambda _: None).receive(sealed)
    assert header[:3] == bytes(3)
    assert payload[0] == 2
    assert Transport(session, lambda _: None).send(header, payload) == sealed


@pytest.mark.parametrize("now", [FROM - LEEWAY, FROM, UNTIL, UNTIL + LEEWAY])
def test_a_certificate_holds_from_its_first_to_its_last_second_with_leeway(now: int) -> None:
    initiator().receive(ACT2, now)


@pytest.mark.parametrize("now", [0, FROM - LEEWAY - 1, UNTIL + LEEWAY + 1])
def test_a_certificate_out_of_its_time_is_refused(now: int) -> None:
    with pytest.raises(CertificateOutOfDate):
        initiator().receive(ACT2, now)


def test_another_authority_is_refused() -> None:
    other = secp256k1.xonly(secp256k1.public_key(b"\x07" * 32))
    with pytest.raises(WrongAuthority):
        initiator(other).receive(ACT2, FROM)


def test_a_certificate_for_another_static_key_is_refused() -> None:
    foreign = Certificate.issue(
        INPUTS["authority_sk"], AUTHORITY, valid_from=FROM, not_valid_after=UNTIL, aux=ZERO
    )
    act2, _ = responder(foreign.pack()).receive(ACT1)
    with pytest.raises(WrongAuthority):
        initiator().receive(act2, FROM)


def test_a_certificate_of_another_version_is_refused() -> None:
    act2, _ = responder(b"\x01" + certificate().pack()[1:]).receive(ACT1)
    with pytest.raises(CertificateUnsupported):
        initiator().receive(act2, FROM)


def test_without_an_authority_key_nothing_in_the_certificate_is_checked() -> None:
    act2, served = responder(bytes(CERTIFICATE_SIZE)).receive(ACT1)
    session = initiator(authority=None).receive(act2, 0)
    assert session.handshake_hash == served.handshake_hash
    assert session.peer_static == STATIC


@pytest.mark.parametrize("at", [0, 63, 64, 143, 144, 217, 233])
def test_any_flipped_bit_of_act_2_is_refused(at: int) -> None:
    tampered = bytearray(ACT2)
    tampered[at] ^= 0x01
    with pytest.raises(HandshakeForged):
        initiator().receive(bytes(tampered), FROM)


def test_a_tampered_act_1_ends_in_different_sessions() -> None:
    act2, _ = responder().receive(bytes(64))
    with pytest.raises(HandshakeForged):
        initiator().receive(act2, FROM)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_an_act_1_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(HandshakeMalformed):
        responder().receive(bytes(size))


@pytest.mark.parametrize("size", [0, 170, 233, 235])
def test_an_act_2_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(HandshakeMalformed):
        initiator().receive(bytes(size), FROM)


@pytest.mark.parametrize("size", [0, 73, 75])
def test_a_certificate_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(HandshakeMalformed):
        Certificate.parse(bytes(size))


def test_a_certificate_of_forever_is_clipped_to_its_field() -> None:
    eternal = certificate(valid_from=100 - BACKDATE, not_valid_after=1 << 40)
    assert (eternal.valid_from, eternal.not_valid_after) == (0, 0xFFFFFFFF)
    eternal.verify(AUTHORITY, STATIC, 100)


KEYS = vector("authority_key")["vectors"]


@pytest.mark.parametrize(
    "key", [k for k in KEYS if k["kind"] == "public" and k["valid"]], ids=lambda k: k["text"]
)
def test_published_authority_keys_are_read_and_written(key: dict[str, Any]) -> None:
    assert decode_public(key["text"]).hex() == key["xonly"]
    assert encode_public(bytes.fromhex(key["xonly"])) == key["text"]


def test_the_published_secret_key_belongs_to_its_public_key() -> None:
    (key,) = [k for k in KEYS if k["kind"] == "secret"]
    secret = decode_secret(key["text"])
    assert secret.hex() == key["payload"]
    assert encode_secret(secret) == key["text"]
    assert public_of(secret).hex() == key["xonly_of_pair"]


@pytest.mark.parametrize(
    "text",
    [
        *(k["text"] for k in KEYS if not k["valid"]),
        "",
        "0OIl",
        "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n",
    ],
)
def test_a_text_that_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(AuthorityKeyError):
        decode_public(text)


def test_numbers_outside_of_the_curve_are_no_keys() -> None:
    with pytest.raises(AuthorityKeyError):
        encode_public(b"\xff" * 32)
    with pytest.raises(AuthorityKeyError):
        encode_public(bytes(31))
    with pytest.raises(AuthorityKeyError):
        encode_secret(bytes(32))
    with pytest.raises(AuthorityKeyError):
        decode_secret("9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh")


def test_every_error_has_a_word_for_the_log() -> None:
    def tree(error: type[NoiseError]) -> list[type[NoiseError]]:
        return [error, *(below for child in error.__subclasses__() for below in tree(child))]

    codes = [error.code for error in tree(NoiseError)]
    assert len(set(codes)) == len(codes)
