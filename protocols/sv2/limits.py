"""How large a frame of each type may be on one connection, decided on its header alone."""

from collections.abc import Mapping

from protocols.sv2.codec import Catalogue
from protocols.sv2.errors import OversizedFrame
from protocols.sv2.frame import MAX_PAYLOAD, parse_header
from protocols.sv2.layout import Message

TLV_ROOM = 1024
UNKNOWN_LIMIT = 4096


class FrameLimits:
    """Called with each header of 6 bytes; raises OversizedFrame for a payload larger than its type may be.

    The cap of a type is what its layout can fill, TLVs included, or what `caps` says (bytes); types that the
    catalogue does not hold get 4096 bytes, enough to be read past.
    """

    def __init__(self, catalogue: Catalogue, caps: Mapping[type[Message], int] | None = None) -> None:
        chosen = caps or {}
        self._caps = {
            number: min(chosen.get(declared, declared.layout.max_size + TLV_ROOM), MAX_PAYLOAD)
            for number, declared in catalogue.messages.items()
        }

    def __call__(self, header: bytes) -> None:
        extension, _, msg_type, size = parse_header(header)
        cap = self._caps.get((extension, msg_type), UNKNOWN_LIMIT)
        if size > cap:
            raise OversizedFrame(f"{size} bytes for message {msg_type:#04x}, at most {cap} are accepted")
