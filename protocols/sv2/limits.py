"""How large a frame of each type may be on one connection, decided on its header alone."""

from collections.abc import Mapping

from protocols.sv2.codec import Catalogue
from protocols.sv2.errors import OversizedFrame
from protocols.sv2.frame import CHANNEL_BIT, MAX_PAYLOAD
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
        self._caps: dict[bytes, int] = {}
        for (extension, msg_type), declared in catalogue.messages.items():
            cap = min(chosen.get(declared, declared.layout.max_size + TLV_ROOM), MAX_PAYLOAD)
            for first in (extension, extension | CHANNEL_BIT):
                self._caps[first.to_bytes(2, "little") + bytes([msg_type])] = cap

    def __call__(self, header: bytes) -> None:
        size = int.from_bytes(header[3:], "little")
        cap = self._caps.get(header[:3], UNKNOWN_LIMIT)
        if size > cap:
            raise OversizedFrame(f"{size} bytes for message {header[2]:#04x}, at most {cap} are accepted")
