"""SetupConnection and RequestExtensions, both sides, every error."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import (
    PROTOCOL_MINING,
    PROTOCOL_TEMPLATE_DISTRIBUTION,
    Reconnect,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from protocols.sv2.errors import (
    ExtensionsRefused,
    MalformedMessage,
    ProtocolVersionMismatch,
    SetupFailed,
    SetupRefused,
    Sv2Error,
    UnexpectedMessage,
    UnsupportedFeatureFlags,
    UnsupportedProtocol,
)
from protocols.sv2.extensions import RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.mining import CloseChannel
from protocols.sv2.setup import (
    REQUIRES_EXTENDED_CHANNELS,
    REQUIRES_FIXED_VERSION,
    REQUIRES_STANDARD_JOBS,
    REQUIRES_VERSION_ROLLING,
    REQUIRES_WORK_SELECTION,
    ClientSetup,
    ServerSetup,
    refusal,
)

HELLO = SetupConnection(PROTOCOL_MINING, 2, 2, 0, "pool", 34254, "v", "h", "f", "")
OTHER = encode(CloseChannel(1, "bye"))
EHASH, WORKER, FOREIGN = 0x4548, 0x0002, 0x4001


def heard(frame: Frame | None) -> Message:
    assert frame is not None
    return MINING.decode(frame)[0]


def client_waiting_for_extensions(
    extensions: tuple[int, ...], available: tuple[int, ...] = ()
) -> ClientSetup:
    client = ClientSetup(HELLO, extensions=extensions, available=available)
    client.start()
    request = client.receive(encode(SetupConnectionSuccess(2, 0)))
    assert heard(request) == RequestExtensions(1, extensions)
    return client


def test_both_sides_agree_and_are_ready() -> None:
    client = ClientSetup(replace(HELLO, flags=REQUIRES_VERSION_ROLLING))
    server = ServerSetup(PROTOCOL_MINING, supported_flags=REQUIRES_VERSION_ROLLING | REQUIRES_STANDARD_JOBS)
    assert [client.ready, server.ready] == [False, False]
    answer = server.receive(client.start())
    assert answer is not None
    assert client.receive(answer) is None
    assert client.ready
    assert server.ready
    assert client.server == SetupConnectionSuccess(used_version=2, flags=0)
    assert server.client == replace(HELLO, flags=REQUIRES_VERSION_ROLLING)
    assert server.receive(OTHER) is None
    assert client.extensions == server.extensions == frozenset()


def test_another_sub_protocol_is_refused_by_name() -> None:
    server = ServerSetup(PROTOCOL_TEMPLATE_DISTRIBUTION)
    with pytest.raises(UnsupportedProtocol) as refused:
        server.receive(encode(replace(HELLO, flags=0xFF)))
    assert heard(refusal(refused.value)) == SetupConnectionError(0, "unsupported-protocol")
    assert not server.ready


@pytest.mark.parametrize(("low", "high"), [(0, 1), (3, 9), (3, 2)])
def test_versions_without_2_are_refused(low: int, high: int) -> None:
    with pytest.raises(ProtocolVersionMismatch) as refused:
        ServerSetup(PROTOCOL_MINING).receive(encode(replace(HELLO, min_version=low, max_version=high)))
    assert heard(refusal(refused.value)) == SetupConnectionError(0, "protocol-version-mismatch")


def test_a_range_of_versions_around_2_is_granted_as_2() -> None:
    answer = ServerSetup(PROTOCOL_MINING).receive(encode(replace(HELLO, min_version=1, max_version=7)))
    assert heard(answer) == SetupConnectionSuccess(2, 0)


def test_a_client_that_probes_with_every_flag_learns_all_unsupported_ones() -> None:
    server = ServerSetup(PROTOCOL_MINING, supported_flags=REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING)
    with pytest.raises(UnsupportedFeatureFlags) as refused:
        server.receive(encode(replace(HELLO, flags=0xFFFFFFFF)))
    assert heard(refusal(refused.value)) == SetupConnectionError(0xFFFFFFFA, "unsupported-feature-flags")
    assert refused.value.flags & REQUIRES_WORK_SELECTION


def test_nothing_comes_before_the_setup_and_the_setup_comes_once() -> None:
    server = ServerSetup(PROTOCOL_MINING)
    with pytest.raises(UnexpectedMessage, match="before SetupConnection"):
        server.receive(OTHER)
    with pytest.raises(MalformedMessage):
        server.receive(Frame(0, False, 0, b"\x00"))
    server.receive(encode(HELLO))
    with pytest.raises(UnexpectedMessage, match="second"):
        server.receive(encode(HELLO))


@pytest.mark.parametrize(
    ("supported", "own"),
    [
        (REQUIRES_VERSION_ROLLING, REQUIRES_FIXED_VERSION),
        (REQUIRES_STANDARD_JOBS, REQUIRES_EXTENDED_CHANNELS),
    ],
)
def test_a_server_cannot_grant_what_its_own_flags_deny(supported: int, own: int) -> None:
    with pytest.raises(ValueError, match="cannot both"):
        ServerSetup(PROTOCOL_MINING, supported_flags=supported, flags=own)
    ServerSetup(PROTOCOL_TEMPLATE_DISTRIBUTION, supported_flags=supported, flags=own)


def test_a_refused_client_learns_the_code_and_the_flags() -> None:
    client = ClientSetup(HELLO)
    client.start()
    with pytest.raises(SetupFailed) as failed:
        client.receive(encode(SetupConnectionError(4, "unsupported-feature-flags")))
    assert failed.value.peer_code == "unsupported-feature-flags"
    assert failed.value.flags == 4


def test_a_client_refuses_a_version_it_did_not_offer_and_flags_it_cannot_live_with() -> None:
    client = ClientSetup(HELLO, refused_flags=REQUIRES_EXTENDED_CHANNELS)
    client.start()
    with pytest.raises(SetupFailed, match="version 3"):
        client.receive(encode(SetupConnectionSuccess(3, 0)))
    with pytest.raises(SetupFailed, match="flags 0x2"):
        client.receive(encode(SetupConnectionSuccess(2, 3)))
    client.receive(encode(SetupConnectionSuccess(2, REQUIRES_FIXED_VERSION)))
    assert client.ready


def test_a_client_that_needs_version_rolling_refuses_a_fixed_version() -> None:
    client = ClientSetup(replace(HELLO, flags=REQUIRES_VERSION_ROLLING))
    client.start()
    with pytest.raises(SetupFailed, match="flags 0x1"):
        client.receive(encode(SetupConnectionSuccess(2, REQUIRES_FIXED_VERSION)))


def test_a_client_takes_nothing_out_of_turn() -> None:
    client = ClientSetup(HELLO)
    with pytest.raises(UnexpectedMessage, match="outside"):
        client.receive(encode(SetupConnectionSuccess(2, 0)))
    client.start()
    with pytest.raises(UnexpectedMessage, match="Reconnect where SetupConnectionSuccess"):
        client.receive(encode(Reconnect("", 0)))
    client.go_plain()
    assert not client.ready


def test_both_sides_agree_on_the_extensions_they_share() -> None:
    client = ClientSetup(HELLO, extensions=(EHASH, FOREIGN))
    server = ServerSetup(PROTOCOL_MINING, extensions=(WORKER, EHASH))
    granted = server.receive(client.start())
    assert granted is not None
    request = client.receive(granted)
    assert request is not None
    assert [client.ready] == [False]
    answer = server.receive(request)
    assert heard(answer) == RequestExtensionsSuccess(1, (EHASH,))
    assert answer is not None
    assert client.receive(answer) is None
    assert client.ready
    assert client.extensions == server.extensions == {EHASH}


def test_a_server_that_supports_none_of_them_says_which_and_the_client_goes_on_plain() -> None:
    client = client_waiting_for_extensions((FOREIGN,))
    server = ServerSetup(PROTOCOL_MINING, extensions=(WORKER,))
    server.receive(encode(HELLO))
    answer = server.receive(encode(RequestExtensions(1, (FOREIGN,))))
    assert heard(answer) == RequestExtensionsError(1, (FOREIGN,), ())
    assert answer is not None
    assert client.receive(answer) is None
    assert client.ready
    assert client.extensions == frozenset()
    assert server.receive(OTHER) is None


def test_an_empty_request_is_granted_nothing() -> None:
    server = ServerSetup(PROTOCOL_MINING)
    server.receive(encode(HELLO))
    assert heard(server.receive(encode(RequestExtensions(7, ())))) == RequestExtensionsSuccess(7, ())


def test_a_client_asks_again_with_what_the_server_requires() -> None:
    client = client_waiting_for_extensions((WORKER, FOREIGN), available=(EHASH,))
    server = ServerSetup(PROTOCOL_MINING, extensions=(WORKER,), required_extensions=(EHASH,))
    server.receive(encode(HELLO))
    refused = server.receive(encode(RequestExtensions(1, (WORKER, FOREIGN))))
    assert heard(refused) == RequestExtensionsError(1, (FOREIGN,), (EHASH,))
    assert refused is not None
    again = client.receive(refused)
    assert heard(again) == RequestExtensions(2, (WORKER, EHASH))
    assert again is not None
    granted = server.receive(again)
    assert granted is not None
    client.receive(granted)
    assert client.extensions == server.extensions == {WORKER, EHASH}
    assert server.receive(OTHER) is None


def test_a_client_without_the_required_extension_gives_up() -> None:
    client = client_waiting_for_extensions((WORKER,))
    with pytest.raises(ExtensionsRefused) as refused:
        client.receive(encode(RequestExtensionsError(1, (), (EHASH,))))
    assert refused.value.required == (EHASH,)


def test_a_server_that_requires_anew_after_the_retry_is_left() -> None:
    client = client_waiting_for_extensions((WORKER,), available=(EHASH,))
    client.receive(encode(RequestExtensionsError(1, (), (EHASH,))))
    with pytest.raises(ExtensionsRefused):
        client.receive(encode(RequestExtensionsError(2, (), (EHASH,))))


def test_a_client_that_begins_without_a_required_extension_is_cut() -> None:
    server = ServerSetup(PROTOCOL_MINING, required_extensions=(EHASH,))
    server.receive(encode(HELLO))
    with pytest.raises(ExtensionsRefused):
        server.receive(OTHER)


def test_extensions_are_not_negotiated_after_the_sub_protocol_began() -> None:
    server = ServerSetup(PROTOCOL_MINING, extensions=(EHASH,))
    server.receive(encode(HELLO))
    server.receive(OTHER)
    with pytest.raises(UnexpectedMessage, match="after the sub-protocol began"):
        server.receive(encode(RequestExtensions(1, (EHASH,))))


def test_a_server_takes_no_answer_for_a_request() -> None:
    server = ServerSetup(PROTOCOL_MINING, extensions=(EHASH,))
    server.receive(encode(HELLO))
    with pytest.raises(UnexpectedMessage, match="where RequestExtensions belongs"):
        server.receive(encode(RequestExtensionsSuccess(1, ())))


def test_a_client_refuses_answers_to_other_requests_and_unasked_extensions() -> None:
    client = client_waiting_for_extensions((WORKER,))
    with pytest.raises(UnexpectedMessage, match="request 9"):
        client.receive(encode(RequestExtensionsSuccess(9, (WORKER,))))
    with pytest.raises(UnexpectedMessage, match="not requested"):
        client.receive(encode(RequestExtensionsSuccess(1, (EHASH,))))


def test_a_silent_server_is_used_without_extensions_when_the_caller_says_so() -> None:
    client = client_waiting_for_extensions((WORKER,))
    client.go_plain()
    assert client.ready
    assert client.extensions == frozenset()


def frames() -> st.SearchStrategy[Frame]:
    anything = st.builds(
        Frame, st.sampled_from([0, 1, 9]), st.booleans(), st.integers(0, 5), st.binary(max_size=60)
    )
    return anything | st.sampled_from(
        [encode(HELLO), OTHER, encode(RequestExtensions(1, (EHASH,))), encode(SetupConnectionSuccess(2, 0))]
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(frames(), max_size=6))
def test_no_sequence_of_frames_raises_anything_but_the_errors_of_the_protocol(arriving: list[Frame]) -> None:
    server = ServerSetup(PROTOCOL_MINING, extensions=(EHASH,))
    client = ClientSetup(HELLO, extensions=(EHASH,))
    client.start()
    for side in (server, client):
        try:
            for frame in arriving:
                side.receive(frame)
        except SetupRefused as error:
            refusal(error)
        except Sv2Error:
            continue
