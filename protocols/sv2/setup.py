"""The first messages of a connection: SetupConnection, then perhaps RequestExtensions (spec chapter 3).

Both sides are fed the frames that arrive and say what to send; `ready` tells when the sub-protocol may begin.
A server that does not know extensions never answers the request: the client's caller keeps the time and calls
`go_plain` or connects anew.
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import TypeVar

from protocols.sv2.codec import Catalogue, encode
from protocols.sv2.connection import (
    MESSAGES,
    PROTOCOL_MINING,
    VERSION,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from protocols.sv2.errors import (
    ExtensionsRefused,
    ProtocolVersionMismatch,
    SetupFailed,
    SetupRefused,
    UnexpectedMessage,
    UnsupportedFeatureFlags,
    UnsupportedProtocol,
)
from protocols.sv2.extensions import (
    EXTENSION_NEGOTIATION,
    RequestExtensions,
    RequestExtensionsError,
    RequestExtensionsSuccess,
)
from protocols.sv2.extensions import MESSAGES as EXTENSION_MESSAGES
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message

REQUIRES_STANDARD_JOBS = 1 << 0
REQUIRES_WORK_SELECTION = 1 << 1
REQUIRES_VERSION_ROLLING = 1 << 2
REQUIRES_FIXED_VERSION = 1 << 0
REQUIRES_EXTENDED_CHANNELS = 1 << 1

M = TypeVar("M", bound=Message)
SETUP = Catalogue([*MESSAGES, *EXTENSION_MESSAGES])


class _State(Enum):
    START = auto()
    SETUP = auto()
    EXTENSIONS = auto()
    RETRY = auto()
    READY = auto()


def refusal(error: SetupRefused) -> Frame:
    """Return the SetupConnection.Error to send before closing."""
    return encode(SetupConnectionError(flags=error.flags, error_code=error.code))


_NONE: frozenset[int] = frozenset()


class ServerSetup:
    """A server's side: one sub-protocol, the client flags it supports, its own flags, and its extensions."""

    __slots__ = (
        "_flags", "_protocol", "_required", "_state", "_supported", "_supported_flags", "client",
        "extensions",
    )  # fmt: skip

    def __init__(
        self,
        protocol: int,
        *,
        supported_flags: int = 0,
        flags: int = 0,
        extensions: Iterable[int] = (),
        required_extensions: Iterable[int] = (),
    ) -> None:
        if protocol == PROTOCOL_MINING:
            _check_mining_flags(supported_flags, flags)
        self._protocol = protocol
        self._supported_flags = supported_flags
        self._flags = flags
        # Sets that are given are kept: connections by the thousand share them.
        self._required = frozenset(required_extensions) or _NONE
        offered = frozenset(extensions)
        self._supported = offered | self._required if self._required else offered
        self._state = _State.START
        self.client: SetupConnection | None = None
        self.extensions = _NONE

    @property
    def ready(self) -> bool:
        """Whether SetupConnection is granted; RequestExtensions may still come as the very next frame."""
        return self._state is not _State.START

    def receive(self, frame: Frame) -> Frame | None:
        """Return the answer to a frame of the setup, None for one that belongs to the sub-protocol.

        Raise SetupRefused (send its `refusal`, then close), UnexpectedMessage for a first frame that is no
        SetupConnection, for a second one and for a late RequestExtensions, ExtensionsRefused when a client
        begins without a required extension, MalformedMessage.
        """
        if self._state is _State.START:
            return self._grant(frame)
        if frame.extension == EXTENSION_NEGOTIATION:
            return self._negotiate(frame)
        if (frame.extension, frame.msg_type) == (0, SetupConnection.msg_type):
            raise UnexpectedMessage("a second SetupConnection")
        if self._required - self.extensions:
            raise ExtensionsRefused(
                "the client began without a required extension", tuple(sorted(self._required))
            )
        self._state = _State.READY
        return None

    def _grant(self, frame: Frame) -> Frame:
        if (frame.extension, frame.msg_type) != (0, SetupConnection.msg_type):
            raise UnexpectedMessage(f"message {frame.msg_type:#04x} before SetupConnection")
        setup = _decode(frame, SetupConnection)
        if setup.protocol != self._protocol:
            raise UnsupportedProtocol(f"sub-protocol {setup.protocol} is not served here")
        if not setup.min_version <= VERSION <= setup.max_version:
            raise ProtocolVersionMismatch(
                f"versions {setup.min_version} to {setup.max_version} do not include 2"
            )
        unsupported = setup.flags & ~self._supported_flags
        if unsupported:
            raise UnsupportedFeatureFlags(f"flags {unsupported:#x} are not supported", unsupported)
        self.client = setup
        self._state = _State.SETUP
        return encode(SetupConnectionSuccess(used_version=VERSION, flags=self._flags))

    def _negotiate(self, frame: Frame) -> Frame:
        if self._state is _State.READY:
            raise UnexpectedMessage("RequestExtensions after the sub-protocol began")
        request = _decode(frame, RequestExtensions)
        asked = request.requested_extensions
        missing = self._required.difference(asked)
        granted = tuple(dict.fromkeys(number for number in asked if number in self._supported))
        if missing or (asked and not granted):
            unsupported = tuple(dict.fromkeys(number for number in asked if number not in self._supported))
            return encode(RequestExtensionsError(request.request_id, unsupported, tuple(sorted(missing))))
        self.extensions = frozenset(granted)
        return encode(RequestExtensionsSuccess(request.request_id, granted))


class ClientSetup:
    """A client's side: what it asks for, which server flags it cannot live with, the extensions it would use.

    `extensions` are requested; `available` are those it could use besides if the server requires them.
    """

    def __init__(
        self,
        setup: SetupConnection,
        *,
        refused_flags: int = 0,
        extensions: Iterable[int] = (),
        available: Iterable[int] = (),
    ) -> None:
        self._setup = setup
        if setup.protocol == PROTOCOL_MINING and setup.flags & REQUIRES_VERSION_ROLLING:
            refused_flags |= REQUIRES_FIXED_VERSION
        self._refused_flags = refused_flags
        self._wanted = tuple(dict.fromkeys(extensions))
        self._available = frozenset(available) | frozenset(self._wanted)
        self._request_id = 0
        self._state = _State.START
        self.server: SetupConnectionSuccess | None = None
        self.extensions: frozenset[int] = frozenset()

    @property
    def ready(self) -> bool:
        """Whether the sub-protocol may begin."""
        return self._state is _State.READY

    def start(self) -> Frame:
        """Return the SetupConnection to send first."""
        self._state = _State.SETUP
        return encode(self._setup)

    def receive(self, frame: Frame) -> Frame | None:
        """Take the server's next frame and return what to send, if anything.

        Raise SetupFailed when the server refuses or grants what we cannot use, ExtensionsRefused when it
        requires extensions that we do not have, UnexpectedMessage out of turn, MalformedMessage.
        """
        if self._state is _State.SETUP:
            return self._hear_setup(frame)
        if self._state in (_State.EXTENSIONS, _State.RETRY):
            return self._hear_extensions(frame)
        raise UnexpectedMessage(f"message {frame.msg_type:#04x} outside of the setup")

    def go_plain(self) -> None:
        """Stop waiting for an answer to RequestExtensions and go on without extensions."""
        if self._state in (_State.EXTENSIONS, _State.RETRY):
            self._state = _State.READY

    def _hear_setup(self, frame: Frame) -> Frame | None:
        if (frame.extension, frame.msg_type) == (0, SetupConnectionError.msg_type):
            error = _decode(frame, SetupConnectionError)
            reason = f"the server answers the setup with {error.error_code!r}, flags {error.flags:#x}"
            raise SetupFailed(reason, error.error_code, error.flags)
        success = _decode(frame, SetupConnectionSuccess)
        if success.used_version != VERSION:
            raise SetupFailed(f"the server chose version {success.used_version} instead of 2")
        if success.flags & self._refused_flags:
            raise SetupFailed(
                f"the server insists on flags {success.flags & self._refused_flags:#x}", flags=success.flags
            )
        self.server = success
        if not self._wanted:
            self._state = _State.READY
            return None
        self._state = _State.EXTENSIONS
        return self._request()

    def _request(self) -> Frame:
        self._request_id += 1
        return encode(RequestExtensions(self._request_id, self._wanted))

    def _hear_extensions(self, frame: Frame) -> Frame | None:
        if (frame.extension, frame.msg_type) == (EXTENSION_NEGOTIATION, RequestExtensionsError.msg_type):
            return self._hear_refusal(_decode(frame, RequestExtensionsError))
        success = _decode(frame, RequestExtensionsSuccess)
        self._check_request(success.request_id)
        if not set(success.supported_extensions) <= set(self._wanted):
            raise UnexpectedMessage("the server grants extensions that were not requested")
        self.extensions = frozenset(success.supported_extensions)
        self._state = _State.READY
        return None

    def _hear_refusal(self, error: RequestExtensionsError) -> Frame | None:
        self._check_request(error.request_id)
        required = error.required_extensions
        if not required:
            self._state = _State.READY
            return None
        if self._state is _State.RETRY or not self._available.issuperset(required):
            raise ExtensionsRefused("the server requires extensions that we do not have", required)
        unsupported = set(error.unsupported_extensions)
        kept = [number for number in self._wanted if number not in unsupported]
        self._wanted = tuple(dict.fromkeys([*kept, *required]))
        self._state = _State.RETRY
        return self._request()

    def _check_request(self, request_id: int) -> None:
        if request_id != self._request_id:
            raise UnexpectedMessage(f"an answer to extension request {request_id}, which is not open")


def _decode(frame: Frame, expected: type[M]) -> M:
    message, _ = SETUP.decode(frame)
    if not isinstance(message, expected):
        raise UnexpectedMessage(f"{type(message).__name__} where {expected.__name__} belongs")
    return message


def _check_mining_flags(supported: int, own: int) -> None:
    if own & REQUIRES_FIXED_VERSION and supported & REQUIRES_VERSION_ROLLING:
        raise ValueError("a server cannot both grant version rolling and require fixed versions")
    if own & REQUIRES_EXTENDED_CHANNELS and supported & REQUIRES_STANDARD_JOBS:
        raise ValueError("a server cannot both grant standard jobs and require extended channels")
