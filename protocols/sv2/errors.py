"""What can go wrong between two Stratum V2 peers.

Sv2Error                       carries `code`, the text for the wire or the log
├── MalformedMessage           bytes that are no message: truncated, trailing, or a value outside its type
│   ├── InvalidFloat           a floating-point number that is negative, infinite or none
│   └── MalformedTlv           bytes behind a message that are no TLV
├── OversizedFrame             a header that announces more than its message type may carry
├── UnknownMessage             (extension, message type) that this connection's catalogue does not hold
├── UnexpectedMessage          a known message in a place where the protocol has none
├── EncodeError                a value of ours that does not fit the wire
├── SetupRefused               a SetupConnection that this server answers with an error; carries `flags`
│   ├── UnsupportedProtocol
│   ├── ProtocolVersionMismatch
│   └── UnsupportedFeatureFlags
├── SetupFailed                the server's answer to our SetupConnection is an error or not acceptable
└── ExtensionsRefused          extensions that the server requires, or none in common
"""

from typing import ClassVar


class Sv2Error(Exception):
    """Root of all errors that bytes of a Stratum V2 peer, or values meant for one, can raise."""

    code: ClassVar[str] = "protocol-error"


class MalformedMessage(Sv2Error):
    """The payload does not follow the layout of its message type."""

    code = "malformed-message"


class InvalidFloat(MalformedMessage):
    """An F32 that is not a finite number of at least 0."""

    code = "invalid-float"


class MalformedTlv(MalformedMessage):
    """The bytes behind the base payload do not form TLVs."""

    code = "malformed-tlv"


class OversizedFrame(Sv2Error):
    """The header announces a payload larger than the connection accepts for that message type."""

    code = "oversized-frame"


class UnknownMessage(Sv2Error):
    """No message of this (extension, message type) exists on this connection."""

    code = "unknown-message"


class UnexpectedMessage(Sv2Error):
    """The message exists, but not in this state of the connection."""

    code = "unexpected-message"


class EncodeError(Sv2Error):
    """A field of a message to be sent does not fit its data type."""

    code = "encode-error"


class SetupRefused(Sv2Error):
    """The SetupConnection cannot be granted; `flags` are all the unsupported ones, 0 for another cause."""

    code = "setup-refused"

    def __init__(self, reason: str, flags: int = 0) -> None:
        super().__init__(reason)
        self.flags = flags


class UnsupportedProtocol(SetupRefused):
    """The client asked for another sub-protocol than the one served here."""

    code = "unsupported-protocol"


class ProtocolVersionMismatch(SetupRefused):
    """The client's version range does not include ours."""

    code = "protocol-version-mismatch"


class UnsupportedFeatureFlags(SetupRefused):
    """The client asked for features that this server does not have."""

    code = "unsupported-feature-flags"


class SetupFailed(Sv2Error):
    """The server refused our setup or granted what we cannot use; `peer_code` is its word, if any."""

    code = "setup-failed"

    def __init__(self, reason: str, peer_code: str = "", flags: int = 0) -> None:
        super().__init__(reason)
        self.peer_code = peer_code
        self.flags = flags


class ExtensionsRefused(Sv2Error):
    """No common ground about extensions; `required` are those that the server insists on."""

    code = "extensions-refused"

    def __init__(self, reason: str, required: tuple[int, ...] = ()) -> None:
        super().__init__(reason)
        self.required = required
