"""Extension 0x0001: which extensions a connection uses."""

from protocols.sv2.layout import Message, message
from protocols.sv2.types import U16, Seq64K

EXTENSION_NEGOTIATION = 0x0001
WORKER_TRACKING = 0x0002


@message(0x00, extension=EXTENSION_NEGOTIATION)
class RequestExtensions(Message):
    """The client's wish, sent directly after SetupConnection.Success."""

    request_id: U16
    requested_extensions: Seq64K[U16]


@message(0x01, extension=EXTENSION_NEGOTIATION)
class RequestExtensionsSuccess(Message):
    """The subset that the server supports."""

    request_id: U16
    supported_extensions: Seq64K[U16]


@message(0x02, extension=EXTENSION_NEGOTIATION)
class RequestExtensionsError(Message):
    """None is supported, or one that the server requires was not requested."""

    request_id: U16
    unsupported_extensions: Seq64K[U16]
    required_extensions: Seq64K[U16]


MESSAGES = (RequestExtensions, RequestExtensionsSuccess, RequestExtensionsError)
