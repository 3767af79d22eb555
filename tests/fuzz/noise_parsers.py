"""What reads bytes before anybody is known: handshakes, certificates, the encrypted stream, keys as text."""

from functools import cache
from typing import Final, NamedTuple

import pytest

from protocols.bitcoin import base58, secp256k1
from protocols.noise import authority
from protocols.noise.certificate import TERMS, Certificate
from protocols.noise.errors import AuthorityKeyError, HandshakeError, TransportError
from protocols.noise.frame_cipher import CipherMaker, PythonCipher
from protocols.noise.handshake import Initiator, Responder, Session
from protocols.noise.transport import CHUNK_SIZE
from protocols.sv2.codec import MINING
from protocols.sv2.errors import OversizedFrame
from protocols.sv2.frame import Frame
from protocols.sv2.limits import FrameLimits
from tests.fuzz.campaign import Parser
from tests.fuzz.mutation import Mutator
from tests.native_kernel import native_kernel

NOW: Final = 1_800_000_000
AUX: Final = bytes(32)
AUTHORITY: Final = b"\x21" * 32
AUTHORITY_KEY: Final = authority.public_of(AUTHORITY)
STATIC: Final = b"\x22" * 32
STATIC_ELLSWIFT: Final = secp256k1.ellswift_create(STATIC, AUX)
STATIC_KEY: Final = secp256k1.xonly(secp256k1.public_key(STATIC))
CERTIFICATE: Final = Certificate.issue(
    AUTHORITY, STATIC_KEY, valid_from=NOW - 3600, not_valid_after=NOW + 3600, aux=AUX
).pack()
KEYS: Final = (b"\x31" * 32, b"\x32" * 32)
LIMITS: Final = FrameLimits(MINING)


def initiator() -> Initiator:
    """A client that expects the authority's word for its server."""
    return Initiator(ephemeral_secret=b"\x23" * 32, ephemeral_aux=AUX, authority=AUTHORITY_KEY)


def responder(
    *, static: bytes = STATIC_ELLSWIFT, certificate: bytes = CERTIFICATE, ephemeral: bytes = b"\x24" * 32
) -> Responder:
    """A server, which may say anything of itself."""
    return Responder(
        static_secret=STATIC,
        static_ellswift=static,
        certificate=certificate,
        ephemeral_secret=ephemeral,
        ephemeral_aux=AUX,
    )


ACT_1: Final = initiator().start()
ACT_2: Final = responder().receive(ACT_1)[0]
CERTIFICATES: Final = (
    CERTIFICATE,
    TERMS.pack(1, NOW, NOW) + bytes(64),
    TERMS.pack(0, NOW + 60, NOW) + CERTIFICATE[TERMS.size :],
    TERMS.pack(0, 0, NOW - 60) + bytes(64),
)


def make_act_2(mutator: Mutator) -> bytes:
    """Damaged on its way, or sealed well by a server that has damaged things to say."""
    if mutator.happens(1 / 2):
        return mutator.damage([ACT_2])
    static = mutator.noise(64) if mutator.happens(1 / 4) else STATIC_ELLSWIFT
    made = responder(static=static, certificate=mutator.damage(CERTIFICATES))
    return made.receive(ACT_1)[0]


def read_act_1(act: bytes) -> None:
    answer, session = responder().receive(act)
    assert len(answer) == len(ACT_2)
    assert session.peer_static is None


def read_act_2(act: bytes) -> None:
    client = initiator()
    client.start()
    assert client.receive(act, NOW).peer_static == STATIC_KEY


class Stream(NamedTuple):
    """Bytes of an encrypted stream in pieces, and the frames in it if nobody has damaged them."""

    pieces: list[bytes]
    frames: list[tuple[bytes, bytes]] | None


FRAMES: Final = (
    Frame(0, False, 0x00, b"\x00" * 40),
    Frame(0, True, 0x1A, b"\x01" * 24),
    Frame(0, True, 0x1B, b"\x02" * 33),
    Frame(0, False, 0x04, b""),
    Frame(0, True, 0x1F, b"\x03" * 700),
    Frame(0, True, 0x1F, b"\x04" * (CHUNK_SIZE - 1)),
    Frame(0, True, 0x1F, b"\x05" * CHUNK_SIZE),
    Frame(0, True, 0x1F, b"\x06" * (CHUNK_SIZE + 1)),
    Frame(0, True, 0x22, b"\x07" * (CHUNK_SIZE + 70)),
)
SMALL: Final = 5


def make_stream(mutator: Mutator) -> Stream:
    """Frames that are sealed well, whatever they say, and sometimes damaged behind that."""
    sender = PythonCipher(Session(bytes(32), None, *KEYS), LIMITS)
    frames = []
    for _ in range(mutator.below(5)):
        frame = FRAMES[mutator.below(len(FRAMES) if mutator.happens(1 / 50) else SMALL)]
        header, payload = frame.header(), frame.payload
        if mutator.happens(1 / 20):
            header = mutator.noise(6)
        frames.append((header, payload))
    data = b"".join(sender.send(header, payload) for header, payload in frames)
    sound = all(int.from_bytes(header[3:], "little") == len(payload) for header, payload in frames)
    if mutator.happens(1 / 2):
        data, sound = mutator.damage([data]), False
    return Stream(mutator.segments(data), frames if sound else None)


RECEIVER: Final = Session(bytes(32), None, KEYS[1], KEYS[0])


def read_stream(stream: Stream) -> None:
    receiver = PythonCipher(RECEIVER, LIMITS)
    received = [frame for piece in stream.pieces for frame in receiver.receive(piece)]
    if stream.frames is not None:
        assert received == stream.frames


@cache
def native() -> CipherMaker:
    """The cipher in C, once; the test is skipped where it is not built."""
    return native_kernel().cipher


def read_stream_natively(stream: Stream) -> None:
    """In C the same comes of every piece as in Python, to the error that ends it."""
    receivers = native()(RECEIVER, LIMITS), PythonCipher(RECEIVER, LIMITS)
    for piece in stream.pieces:
        try:
            expected = receivers[1].receive(piece)
        except (TransportError, OversizedFrame) as error:
            with pytest.raises(type(error)):
                receivers[0].receive(piece)
            raise
        assert receivers[0].receive(piece) == expected


KEY_TEXTS: Final = (
    authority.encode_public(AUTHORITY_KEY),
    authority.encode_secret(AUTHORITY),
    "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72",
)


def make_key_text(mutator: Mutator) -> str:
    if mutator.happens(1 / 2):
        return mutator.text(KEY_TEXTS)
    return base58.encode_check(mutator.damage([b"\x01\x00" + AUTHORITY_KEY, AUTHORITY])[:120])


def read_key_text(text: str) -> None:
    try:
        assert authority.encode_public(authority.decode_public(text)) == text
    except AuthorityKeyError:
        assert authority.encode_secret(authority.decode_secret(text)) == text


PARSERS: Final = (
    Parser("noise-act-1", lambda mutator: mutator.damage([ACT_1]), read_act_1, (HandshakeError,)),
    Parser("noise-act-2", make_act_2, read_act_2, (HandshakeError,)),
    Parser("noise-transport", make_stream, read_stream, (TransportError, OversizedFrame)),
    Parser("noise-transport-native", make_stream, read_stream_natively, (TransportError, OversizedFrame)),
    Parser("authority-key-text", make_key_text, read_key_text, (AuthorityKeyError,)),
)
