"""From messages to frames and back, by catalogues of what a connection may carry."""

from collections.abc import Iterable

from protocols.sv2 import connection, extensions, job_declaration, mining, template_distribution
from protocols.sv2.errors import MalformedMessage, UnknownMessage
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.tlv import WORKER_IDENTITY, Tlv, encode_tlvs, parse_tlvs


def encode(message: Message, tlvs: Iterable[Tlv] = ()) -> Frame:
    """Return the frame of a message with its TLVs; raise EncodeError for a value that does not fit."""
    out = bytearray()
    message.layout.write(message, out)
    if tlvs:
        out += encode_tlvs(tlvs)
    return Frame(message.extension, message.channel, message.msg_type, bytes(out))


class Catalogue:
    """The messages of one sub-protocol, by (extension, message type); the channel bit is not looked at."""

    def __init__(self, messages: Iterable[type[Message]]) -> None:
        self.messages: dict[tuple[int, int], type[Message]] = {}
        for declared in messages:
            number = (declared.extension, declared.msg_type)
            if number in self.messages:
                raise ValueError(f"{declared.__name__} has the number of {self.messages[number].__name__}")
            self.messages[number] = declared
        self.extensions = frozenset(
            {WORKER_IDENTITY[0], *(extension for extension, _ in self.messages if extension)}
        )

    def with_messages(self, *messages: type[Message]) -> "Catalogue":
        """Return a catalogue that knows an extension's messages, and by them its TLVs, too."""
        return Catalogue([*self.messages.values(), *messages])

    def decode(self, frame: Frame) -> tuple[Message, tuple[Tlv, ...]]:
        """Return the message of a frame and the TLVs behind it.

        Raise UnknownMessage for a number that is not in the catalogue, MalformedMessage for a payload that
        does not follow its layout.
        """
        extension, _, msg_type, payload = frame
        declared = self.messages.get((extension, msg_type))
        if declared is None:
            raise UnknownMessage(
                f"no message {msg_type:#04x} of extension {extension:#06x} on this connection"
            )
        try:
            message, end = declared.layout.read(payload, 0)
            return message, (() if end == len(payload) else parse_tlvs(payload[end:], self.extensions))
        except MalformedMessage as error:
            raise type(error)(f"{declared.__name__}: {error}") from error


MINING = Catalogue([*connection.MESSAGES, *extensions.MESSAGES, *mining.MESSAGES])
JOB_DECLARATION = Catalogue([*connection.MESSAGES, *extensions.MESSAGES, *job_declaration.MESSAGES])
TEMPLATE_DISTRIBUTION = Catalogue(
    [*connection.MESSAGES, *extensions.MESSAGES, *template_distribution.MESSAGES]
)
