"""What reads Stratum V2: frame headers, the messages of every catalogue with their TLVs, and the setup."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from random import Random
from typing import Any, Final, cast, get_type_hints

import pytest

from protocols.ehash.messages import ISSUANCE, MINING_MESSAGES
from protocols.sv2.codec import JOB_DECLARATION, MINING, TEMPLATE_DISTRIBUTION, Catalogue, encode
from protocols.sv2.connection import SetupConnection, SetupConnectionError, SetupConnectionSuccess
from protocols.sv2.errors import (
    MalformedMessage,
    MalformedTlv,
    OversizedFrame,
    SetupRefused,
    Sv2Error,
    UnknownMessage,
)
from protocols.sv2.extensions import RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess
from protocols.sv2.frame import Frame, frame_from, parse_header
from protocols.sv2.layout import Layout, Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import SubmitSharesExtended
from protocols.sv2.setup import ClientSetup, ServerSetup, refusal
from protocols.sv2.share_frame import read_share
from protocols.sv2.tlv import Tlv, encode_tlvs, find_tlv, parse_tlvs
from protocols.sv2.types import Blob, Boolean, Float, Kind, Many, Maybe, Raw, Text, Unsigned, kind_of
from tests.fuzz.campaign import Parser
from tests.fuzz.mutation import EDGES, Mutator

MINING_LINK: Final = MINING.with_messages(*MINING_MESSAGES)
TLVS: Final = (
    (Tlv(0x4548, 1, b"\x02" * 33),),
    (Tlv(0x4548, 2, b"\x03" * 33), Tlv(0x0002, 1, b"worker")),
    (Tlv(0x1234, 9, b""),),
)
TLV_TEXTS: Final = tuple(encode_tlvs(tlvs) for tlvs in TLVS)


def value_of(kind: Kind, chance: Random) -> Any:
    """Any value that a kind of field can carry; long ones are rare."""
    match kind:
        case Layout():
            return message_of(kind.record, chance)
        case Boolean():
            return chance.random() < 0.5
        case Float():
            return chance.choice([0.0, 1.0, 5e13, 3.4e38])
        case Unsigned():
            edge = chance.choice([*EDGES, chance.getrandbits(8 * kind.max_size)])
            return edge & ((1 << 8 * kind.max_size) - 1)
        case Raw():
            return chance.randbytes(kind.max_size)
        case Text():
            return chance.choice(["", "worker", "ä€😀", "x" * 255])
        case Blob():
            return chance.randbytes(chance.choice([0, 1, 8, 32]))
        case Maybe():
            return chance.choice([None, value_of(kind.element, chance)])
        case Many():
            return tuple(value_of(kind.element, chance) for _ in range(chance.choice([0, 1, 3])))
    raise TypeError(f"{kind} is not known here")


def message_of(declared: Any, chance: Random) -> Any:
    """A message, or a record in one, with any values."""
    hints = get_type_hints(declared, include_extras=True)
    return declared(*(value_of(kind_of(hints[field.name]), chance) for field in fields(declared)))


def frames_of(catalogue: Catalogue) -> tuple[Frame, ...]:
    """A few valid frames of every message."""
    chance = Random(4548)
    return tuple(
        encode(message_of(declared, chance), chance.choice([(), (), *TLVS]))
        for declared in catalogue.messages.values()
        for _ in range(4)
    )


def messages_parser(name: str, catalogue: Catalogue) -> Parser[Frame]:
    """The parser of one catalogue."""
    frames = frames_of(catalogue)

    def make(mutator: Mutator) -> Frame:
        frame = mutator.pick(frames)
        payload = mutator.damage([frame.payload], TLV_TEXTS)
        if mutator.happens(1 / 50):
            return Frame(mutator.pick((0, 1, 2, 0x4548)), mutator.happens(0.5), mutator.below(256), payload)
        return frame._replace(payload=payload)

    def read(frame: Frame) -> None:
        message, tlvs = catalogue.decode(frame)
        again = encode(message, tlvs)
        assert len(again.payload) <= len(frame.payload) + longest_default(type(message))
        said, tlvs_said = catalogue.decode(again)
        assert said == message
        assert sorted(tlvs_said) == sorted(tlvs)

    return Parser(name, make, read, (MalformedMessage, UnknownMessage))


def longest_default(declared: type[Message]) -> int:
    """Bytes that are written where a shorter message of an older peer was read."""
    hints = get_type_hints(declared, include_extras=True)
    return sum(
        kind_of(hints[each.name]).max_size
        for each in fields(cast("Any", declared))
        if each.default is not MISSING
    )


SHARES: Final = tuple(
    frame.payload for frame in frames_of(MINING_LINK) if frame.msg_type == SubmitSharesExtended.msg_type
)


def read_extended_share(payload: bytes) -> None:
    """The short way reads what the catalogue reads, and refuses what it refuses."""
    frame = Frame(0, True, SubmitSharesExtended.msg_type, payload)
    try:
        share, end = read_share(payload)
    except MalformedMessage:
        with pytest.raises(MalformedMessage):
            MINING_LINK.decode(frame)
        raise
    tlvs = parse_tlvs(payload[end:], MINING_LINK.extensions)
    assert (SubmitSharesExtended(*share), tlvs) == MINING_LINK.decode(frame)


HEADERS: Final = tuple(frame.header() for frame in frames_of(MINING_LINK))
LIMITS: Final = FrameLimits(MINING_LINK)


def read_header(data: bytes) -> None:
    header = parse_header(data)
    LIMITS(data)
    frame = frame_from(data, bytes(header.size))
    assert frame.header() == data
    if frame.channel and header.size >= 4:
        assert frame.on_channel(7).channel_id == 7


def read_tlvs(data: bytes) -> None:
    tlvs = parse_tlvs(data, frozenset({0x4548, 2}))
    for tlv in tlvs:
        find_tlv(tlvs, tlv.extension, tlv.field)
    assert sorted(parse_tlvs(encode_tlvs(tlvs), frozenset(tlv.extension for tlv in tlvs))) == sorted(tlvs)


SETUP: Final = SetupConnection(0, 2, 2, 0, "pool.example", 34254, "vendor", "hardware", "firmware", "device")
CLIENT_FRAMES: Final = tuple(
    map(
        encode,
        (
            SETUP,
            SetupConnection(1, 2, 2, 0, "", 0, "", "", "", ""),
            SetupConnection(0, 2, 9, 0b101, "", 0, "", "", "", ""),
            RequestExtensions(1, (0x4548, 2)),
            RequestExtensions(2, ()),
        ),
    )
)
SERVER_FRAMES: Final = tuple(
    map(
        encode,
        (
            SetupConnectionSuccess(2, 0),
            SetupConnectionSuccess(2, 3),
            SetupConnectionError(1, "unsupported-feature-flags"),
            RequestExtensionsSuccess(1, (0x4548,)),
            RequestExtensionsError(1, (2,), (0x4548, 3)),
            RequestExtensionsError(1, (2,), ()),
        ),
    )
)


def make_conversation(frames: Sequence[Frame], mutator: Mutator) -> list[Frame]:
    """What one side may say at the start: frames in any order, some of them damaged."""
    said = [frames[0]] if mutator.happens(1 / 2) else []
    for _ in range(mutator.below(5)):
        frame = mutator.pick(frames)
        if mutator.happens(1 / 2):
            frame = frame._replace(payload=mutator.damage([frame.payload]))
        if mutator.happens(1 / 10):
            frame = frame._replace(msg_type=mutator.below(256), extension=mutator.pick((0, 1, 2, 0x7FFF)))
        said.append(frame)
    return said


def read_as_server(said: list[Frame]) -> None:
    setup = ServerSetup(0, supported_flags=0b101, extensions=[0x4548], required_extensions=[2])
    try:
        for frame in said:
            setup.receive(frame)
    except SetupRefused as error:
        refusal(error)
        raise
    assert setup.ready == (setup.client is not None)


def read_as_client(said: list[Frame]) -> None:
    setup = ClientSetup(SETUP, refused_flags=1, extensions=[0x4548, 2], available=[3])
    setup.start()
    for frame in said:
        setup.receive(frame)
    assert setup.extensions <= {0x4548, 2, 3}


PARSERS: Final = (
    Parser(
        "sv2-frame-header",
        lambda mutator: mutator.damage(HEADERS),
        read_header,
        (MalformedMessage, OversizedFrame),
    ),
    messages_parser("sv2-mining", MINING_LINK),
    messages_parser("sv2-template-distribution", TEMPLATE_DISTRIBUTION),
    messages_parser("sv2-job-declaration", JOB_DECLARATION),
    messages_parser("sv2-issuance", ISSUANCE),
    Parser(
        "sv2-extended-shares",
        lambda mutator: mutator.damage(SHARES, TLV_TEXTS),
        read_extended_share,
        (MalformedMessage,),
    ),
    Parser("sv2-tlvs", lambda mutator: mutator.damage(TLV_TEXTS, TLV_TEXTS), read_tlvs, (MalformedTlv,)),
    Parser(
        "sv2-setup-server",
        lambda mutator: make_conversation(CLIENT_FRAMES, mutator),
        read_as_server,
        (Sv2Error,),
    ),
    Parser(
        "sv2-setup-client",
        lambda mutator: make_conversation(SERVER_FRAMES, mutator),
        read_as_client,
        (Sv2Error,),
    ),
)
