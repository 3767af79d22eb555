"""Every declared message against recorded payloads, and round trips of every layout."""

import json
import struct
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.sv2 import codec, connection, extensions, job_declaration, mining, template_distribution, types
from protocols.sv2.codec import JOB_DECLARATION, MINING, TEMPLATE_DISTRIBUTION, Catalogue, encode
from protocols.sv2.errors import EncodeError, MalformedMessage, MalformedTlv, Sv2Error, UnknownMessage
from protocols.sv2.frame import Frame, frame_from
from protocols.sv2.layout import Integers, Layout, Message, Record, message, record
from protocols.sv2.tlv import Tlv
from protocols.sv2.types import U8, U16, U32, Bool, Kind, Option, Seq64K, Seq255, Str255, Target, kind_of

VECTORS = Path(__file__).parents[2] / "vectors" / "sv2"
CATALOGUES = {"mining": MINING, "declaration": JOB_DECLARATION, "templates": TEMPLATE_DISTRIBUTION}
EVERY_MESSAGE = sorted(
    {declared for catalogue in CATALOGUES.values() for declared in catalogue.messages.values()},
    key=lambda declared: (declared.__module__, declared.msg_type),
)
NAMES = {
    "SetupConnection": connection.SetupConnection,
    "SetupConnection.Success": connection.SetupConnectionSuccess,
    "SetupConnection.Error": connection.SetupConnectionError,
    "NewTemplate": template_distribution.NewTemplate,
    "SetNewPrevHash (template distribution)": template_distribution.SetNewPrevHash,
    "SubmitSolution": template_distribution.SubmitSolution,
}
BYTES_FIELDS = {"coinbase_prefix", "coinbase_tx_outputs", "prev_hash", "coinbase_tx"}


def vectors(kind: str) -> list[dict[str, Any]]:
    return [v for v in json.loads((VECTORS / "messages.json").read_text())["vectors"] if v["kind"] == kind]


def fields_of(vector: dict[str, Any]) -> dict[str, Any]:
    fields = dict(vector["fields"])
    for name in BYTES_FIELDS & fields.keys():
        fields[name] = bytes.fromhex(fields[name])
    if "merkle_path" in fields:
        fields["merkle_path"] = tuple(bytes.fromhex(leaf) for leaf in fields["merkle_path"])
    if "target" in fields:
        fields["target"] = int.from_bytes(bytes.fromhex(fields["target"]), "little")
    return fields


@pytest.mark.parametrize("vector", vectors("payload"), ids=lambda v: v["message"])
def test_a_published_payload_is_read_and_written_byte_for_byte(vector: dict[str, Any]) -> None:
    declared = NAMES[vector["message"]]
    expected = declared(**fields_of(vector))
    payload = bytes.fromhex(vector["encoded"])
    assert encode(expected) == Frame(0, False, vector["msg_type"], payload)
    assert TEMPLATE_DISTRIBUTION.decode(Frame(0, False, vector["msg_type"], payload)) == (expected, ())
    worker = Tlv(0x0002, 1, b"worker")
    assert TEMPLATE_DISTRIBUTION.decode(encode(expected, [worker])) == (expected, (worker,))


def test_bytes_that_are_no_tlv_behind_a_message_are_refused() -> None:
    (vector,) = vectors("malformed")
    with pytest.raises(MalformedTlv, match="SubmitSolution"):
        TEMPLATE_DISTRIBUTION.decode(Frame(0, False, 0x76, bytes.fromhex(vector["encoded"])))


def recorded_frames() -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = json.loads((VECTORS / "tdp_conversation_sv2tp.json").read_text())["frames"]
    return frames


@pytest.mark.parametrize("recorded", recorded_frames(), ids=lambda r: r["after"])
def test_what_another_template_provider_sent_is_understood_and_written_alike(
    recorded: dict[str, Any],
) -> None:
    plain = bytes.fromhex(recorded["plain"])
    frame = frame_from(plain[:6], plain[6:])
    message, tlvs = TEMPLATE_DISTRIBUTION.decode(frame)
    assert tlvs == ()
    assert encode(message) == frame
    assert frame.header() == plain[:6]


def test_the_recorded_conversation_of_another_template_provider_has_the_expected_course() -> None:
    plains = [bytes.fromhex(recorded["plain"]) for recorded in recorded_frames()]
    heard = [TEMPLATE_DISTRIBUTION.decode(frame_from(plain[:6], plain[6:]))[0] for plain in plains]
    setup, template, tip, data, unknown, next_template, next_tip, fees = heard
    assert setup == connection.SetupConnectionSuccess(used_version=2, flags=0)
    assert isinstance(template, template_distribution.NewTemplate)
    assert template.future_template
    assert len(template.merkle_path) == 3
    assert isinstance(tip, template_distribution.SetNewPrevHash)
    assert tip.template_id == template.template_id
    assert tip.target == 0x7FFFFF << 8 * 29
    assert isinstance(data, template_distribution.RequestTransactionDataSuccess)
    assert len(data.transaction_list) == 5
    assert isinstance(unknown, template_distribution.RequestTransactionDataError)
    assert unknown.error_code == "template-id-not-found"
    assert isinstance(next_template, template_distribution.NewTemplate)
    assert isinstance(next_tip, template_distribution.SetNewPrevHash)
    assert next_template.template_id == next_tip.template_id
    assert isinstance(fees, template_distribution.NewTemplate)
    assert not fees.future_template
    assert fees.coinbase_tx_value_remaining > next_template.coinbase_tx_value_remaining


def test_a_custom_job_carries_its_whole_script_before_the_extranonce() -> None:
    vector = json.loads((VECTORS / "custom_job.json").read_text())
    template, tip = vector["template"], vector["chain_tip"]
    coinbase = bytes.fromhex(vector["expected_job"]["coinbase_tx_prefix"])
    script = coinbase[42:]
    outputs = bytes.fromhex(vector["expected_job"]["coinbase_tx_suffix"])[4:-4]
    custom = mining.SetCustomMiningJob(
        channel_id=vector["channel_id"],
        request_id=vector["request_id"],
        mining_job_token=bytes.fromhex(vector["mining_job_token"]),
        version=template["version"],
        prev_hash=bytes.fromhex(tip["prev_hash"]),
        min_ntime=tip["min_ntime"],
        nbits=tip["nbits"],
        coinbase_tx_version=template["coinbase_tx_version"],
        coinbase_prefix=script,
        coinbase_tx_input_nsequence=template["coinbase_tx_input_sequence"],
        coinbase_tx_outputs=outputs,
        coinbase_tx_locktime=template["coinbase_tx_locktime"],
        merkle_path=(),
    )
    assert script[:2].hex() == template["coinbase_prefix"]
    assert bytes.fromhex(vector["script_sig_tag"]) in script
    assert len(script) + vector["full_extranonce_size"] == coinbase[41]
    frame = encode(custom)
    assert frame.channel
    assert MINING.decode(frame) == (custom, ())
    assert frame.payload[8:10] == b"\x01\x00"


VALUES: dict[type[Kind], Any] = {
    types.Boolean: lambda kind: st.booleans(),
    types.Unsigned: lambda kind: st.integers(0, (1 << 8 * kind.max_size) - 1),
    types.Float: lambda kind: st.floats(0, 2.0**127, width=32),
    types.Raw: lambda kind: st.binary(min_size=kind.max_size, max_size=kind.max_size),
    types.Blob: lambda kind: st.binary(max_size=min(kind.limit, 300)),
    types.Text: lambda kind: st.binary(max_size=255).map(lambda b: b.decode("utf-8", "surrogateescape")),
    types.Many: lambda kind: st.lists(values_of(kind.element), max_size=4).map(tuple),
    types.Maybe: lambda kind: st.none() | values_of(kind.element),
}


def values_of(kind: Kind) -> st.SearchStrategy[Any]:
    values: st.SearchStrategy[Any] = VALUES[type(kind)](kind)
    return values


def messages_of(declared: type[Message]) -> st.SearchStrategy[Message]:
    parts: list[st.SearchStrategy[Any]] = []
    for step in declared.layout.steps:
        if isinstance(step.kind, Integers):
            sizes = [struct.calcsize(code) for code in step.kind.struct.format.lstrip("<")]
            parts += [st.integers(0, (1 << 8 * size) - 1) for size in sizes]
        else:
            parts.append(values_of(step.kind))
    return st.tuples(*parts).map(lambda values: declared(*values))


@pytest.mark.parametrize("declared", EVERY_MESSAGE, ids=lambda d: d.__name__)
def test_every_message_survives_the_round_trip_alone_with_tlvs_and_cut_anywhere(
    declared: type[Message],
) -> None:
    catalogue = Catalogue([declared])

    @settings(max_examples=25, deadline=None)
    @given(messages_of(declared), st.data())
    def property_holds(message: Message, data: st.DataObject) -> None:
        frame = encode(message)
        assert (frame.extension, frame.msg_type, frame.channel) == (
            declared.extension,
            declared.msg_type,
            declared.channel,
        )
        assert len(frame.payload) <= declared.layout.max_size
        assert catalogue.decode(frame) == (message, ())
        hash(message)
        tlvs = (Tlv(0x0002, 1, b"worker"), Tlv(0x4548, 1, bytes(33)))
        assert catalogue.decode(encode(message, tlvs)) == (message, tlvs)
        cut = data.draw(st.integers(0, len(frame.payload) - 1))
        if declared is template_distribution.CoinbaseOutputConstraints and cut == 4:
            return
        with pytest.raises(MalformedMessage):
            catalogue.decode(frame._replace(payload=frame.payload[:cut]))

    property_holds()


@pytest.mark.parametrize("catalogue", CATALOGUES.values(), ids=CATALOGUES.keys())
def test_no_payload_raises_anything_but_the_errors_of_the_protocol(catalogue: Catalogue) -> None:
    numbers = st.sampled_from(sorted(catalogue.messages)) | st.tuples(st.integers(0, 9), st.integers(0, 255))

    @settings(max_examples=300, deadline=None)
    @given(numbers, st.binary(max_size=200))
    def property_holds(number: tuple[int, int], payload: bytes) -> None:
        try:
            message, _ = catalogue.decode(Frame(number[0], False, number[1], payload))
        except Sv2Error:
            return
        assert catalogue.decode(encode(message)) == (message, ())

    property_holds()


def test_the_two_new_prev_hash_messages_are_told_apart_by_the_connection() -> None:
    assert MINING.messages[0, 0x20] is mining.SetNewPrevHash
    assert TEMPLATE_DISTRIBUTION.messages[0, 0x72] is template_distribution.SetNewPrevHash
    with pytest.raises(UnknownMessage):
        MINING.decode(Frame(0, False, 0x72, b""))


@pytest.mark.parametrize(
    "declared", job_declaration.MESSAGES + template_distribution.MESSAGES, ids=lambda d: d.__name__
)
def test_declaration_and_templates_never_carry_the_channel_bit(declared: type[Message]) -> None:
    assert not declared.channel


def test_a_submitted_extended_share_begins_with_its_known_bytes() -> None:
    share = mining.SubmitSharesExtended(1, 2, 3, 4, 5, 6, b"\xab" * 8)
    assert encode(share).header()[:3].hex() == "00801b"


def test_the_size_comes_before_the_prefix_when_an_extended_channel_opens() -> None:
    opened = mining.OpenExtendedMiningChannelSuccess(1, 2, 3, 8, b"\xaa\xbb", 9)
    assert encode(opened).payload[40:45].hex() == "0800" + "02aabb"


def test_a_template_client_that_says_nothing_of_sigops_means_400() -> None:
    heard, _ = TEMPLATE_DISTRIBUTION.decode(Frame(0, False, 0x70, bytes(4)))
    assert heard == template_distribution.CoinbaseOutputConstraints(0, 400)


def test_only_bit_zero_of_a_boolean_counts() -> None:
    @message(0x01)
    class Flag(Message):
        value: Bool

    assert Catalogue([Flag]).decode(Frame(0, False, 1, b"\xfe")) == (Flag(False), ())
    assert Catalogue([Flag]).decode(Frame(0, False, 1, b"\xff")) == (Flag(True), ())


@pytest.mark.parametrize(
    "rate", ["0000c07f", "0000807f", "000080ff", "000080bf"], ids=["nan", "inf", "-inf", "-1"]
)
def test_a_hash_rate_that_is_no_finite_number_is_refused(rate: str) -> None:
    payload = bytes(4) + b"\x00" + bytes.fromhex(rate) + bytes(32)
    with pytest.raises(MalformedMessage, match="F32"):
        MINING.decode(Frame(0, False, 0x10, payload))


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0, 1e39])
def test_a_hash_rate_that_does_not_fit_is_not_sent(rate: float) -> None:
    with pytest.raises(EncodeError, match="F32"):
        encode(mining.UpdateChannel(1, rate, 0))


def test_an_identity_that_is_no_utf8_is_kept_byte_for_byte() -> None:
    payload = bytes(4) + b"\x03\xff\xfea" + bytes(4) + bytes(32)
    heard, _ = MINING.decode(Frame(0, False, 0x10, payload))
    assert encode(heard).payload == payload


@pytest.mark.parametrize(
    "unfit",
    [
        mining.SubmitSharesStandard(1 << 32, 0, 0, 0, 0, 0),
        mining.SetTarget(1, 1 << 256),
        mining.SetTarget(1, -1),
        mining.SetNewPrevHash(1, 1, bytes(31), 0, 0),
        mining.SetExtranoncePrefix(1, bytes(33)),
        mining.CloseChannel(1, "x" * 256),
        mining.CloseChannel(1, "\ud800"),
        mining.NewMiningJob(1, 1, 1 << 32, 0, bytes(32)),
        mining.NewExtendedMiningJob(1, 1, None, 0, True, (bytes(32),) * 256, b"", b""),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_value_that_does_not_fit_its_field_is_an_encode_error(unfit: Message) -> None:
    with pytest.raises(EncodeError):
        encode(unfit)


def test_an_option_of_two_a_long_extranonce_a_short_one_and_a_greedy_count_are_malformed() -> None:
    with pytest.raises(MalformedMessage, match="at most 1"):
        MINING.decode(Frame(0, True, 0x15, bytes(8) + b"\x02" + bytes(50)))
    with pytest.raises(MalformedMessage, match="at most 32"):
        MINING.decode(Frame(0, True, 0x1B, bytes(24) + b"\x21" + bytes(33)))
    with pytest.raises(MalformedMessage, match="too early"):
        MINING.decode(Frame(0, True, 0x1B, bytes(24) + b"\x08" + bytes(7)))
    with pytest.raises(MalformedMessage, match="too early"):
        MINING.decode(Frame(0, False, 0x25, bytes(4) + b"\xff\xff" + bytes(4)))


def test_an_extension_declares_records_in_sequences_and_joins_a_catalogue() -> None:
    @record
    class Row(Record):
        place: U8
        target: Target
        name: Str255

    @message(0x13, extension=0x4548)
    class Rows(Message):
        up_to: Option[U16]
        rows: Seq64K[Row]

    wider = MINING.with_messages(Rows)
    sent = Rows(7, (Row(1, 2, "a"), Row(3, 1 << 255, "b")))
    assert wider.decode(encode(sent)) == (sent, ())
    assert wider.extensions == {0x0001, 0x0002, 0x4548}
    assert MINING.extensions == {0x0001, 0x0002}


def test_two_messages_of_one_number_are_a_mistake_of_the_programmer() -> None:
    with pytest.raises(ValueError, match="SetNewPrevHash has the number of SetNewPrevHash"):
        codec.Catalogue([mining.SetNewPrevHash, mining.SetNewPrevHash])


@pytest.mark.parametrize("annotation", [int, Seq255, "x", Annotated[int, "of old"]])
def test_an_annotation_without_encoding_is_a_mistake_of_the_programmer(annotation: Any) -> None:
    with pytest.raises(TypeError):
        kind_of(annotation)


def test_layouts_know_the_most_they_can_fill() -> None:
    assert mining.SubmitSharesStandard.layout.max_size == 24
    assert mining.SubmitSharesExtended.layout.max_size == 24 + 33
    assert extensions.RequestExtensions.layout.max_size == 2 + 2 + 2 * 65535
    assert isinstance(mining.SetTarget.layout, Layout)


def test_a_lone_number_reads_like_one_among_others() -> None:
    @message(0x02)
    class Lone(Message):
        name: Str255
        number: U32

    assert Catalogue([Lone]).decode(encode(Lone("n", 9))) == (Lone("n", 9), ())
