"""Messages of every sub-protocol (spec chapter 3): setup, reconnect, changed endpoints."""

from protocols.sv2.layout import Message, message
from protocols.sv2.types import U8, U16, U32, Str255

PROTOCOL_MINING = 0
PROTOCOL_JOB_DECLARATION = 1
PROTOCOL_TEMPLATE_DISTRIBUTION = 2
VERSION = 2


@message(0x00)
class SetupConnection(Message):
    """The client's first message: sub-protocol, versions, feature flags and who it is."""

    protocol: U8
    min_version: U16
    max_version: U16
    flags: U32
    endpoint_host: Str255
    endpoint_port: U16
    vendor: Str255
    hardware_version: Str255
    firmware: Str255
    device_id: Str255


@message(0x01)
class SetupConnectionSuccess(Message):
    """The server's consent, with its own feature flags."""

    used_version: U16
    flags: U32


@message(0x02)
class SetupConnectionError(Message):
    """The server's refusal; flags are all the unsupported ones, 0 for another cause."""

    flags: U32
    error_code: Str255


@message(0x03, channel=True)
class ChannelEndpointChanged(Message):
    """A proxy's word that extension state of a channel must be negotiated again."""

    channel_id: U32


@message(0x04)
class Reconnect(Message):
    """The server's wish to be reached elsewhere under the same authority key; empty and 0 mean unchanged."""

    new_host: Str255
    new_port: U16


MESSAGES = (
    SetupConnection,
    SetupConnectionSuccess,
    SetupConnectionError,
    ChannelEndpointChanged,
    Reconnect,
)
